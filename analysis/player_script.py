"""The player's client-side modules as one script, and what it takes, for the app and for reports without a server.

The modules are files of the repository's ``app``, read as data: nothing of the app is imported.
"""

from __future__ import annotations

import json
import posixpath
import re
import struct
from collections.abc import Mapping
from functools import cache
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
# The wheel installs the repository's `app` under the name of the distribution.
FOLDER = next((found for found in (_ROOT / "flexlora_lab", _ROOT / "app") if found.is_dir()), _ROOT / "app")

_IMPORT = re.compile(r'^import .* from "(\.{1,2}/[\w/.]+)\.js";\n', re.MULTILINE)
_COMMENT = re.compile(r"^ *(?:/\*\*.*?\*/|// [^\n]*)\n", re.MULTILINE | re.DOTALL)
_EXPORT = re.compile(r"^export (?!default\b)", re.MULTILINE)


def module_text(name: str) -> str:
    """Return the source of a module, named by its path below ``FOLDER`` without its suffix.

    Raises:
        FileNotFoundError: there is no such module, as where the package was installed without its repository.
    """
    return (FOLDER / f"{name}.js").read_text(encoding="utf-8")


@cache
def module_order(entry: str) -> tuple[str, ...]:
    """Return a module and all that it imports, each after those it needs itself.

    Raises:
        FileNotFoundError: a module is missing.
        ValueError: modules import each other in a circle.
    """
    done: list[str] = []
    open_ones: list[str] = []

    def visit(name: str) -> None:
        if name in done:
            return
        if name in open_ones:
            raise ValueError(f"modules import each other: {' → '.join([*open_ones, name])}")
        open_ones.append(name)
        for other in _IMPORT.findall(module_text(name)):
            visit(posixpath.normpath(posixpath.join(posixpath.dirname(name), other)))
        done.append(open_ones.pop())

    visit(entry)
    return tuple(done)


@cache
def joined_modules(entry: str) -> str:
    """Return one script out of a module and all that it imports.

    Streamlit serves a component's script from one string unless it is a packaged distribution, and a report is one
    file; so import lines and the ``export`` keyword are dropped. All modules share one scope, hence top-level names are
    unique among them. The string travels with each new payload, twice a second while a run grows, hence without its
    comments.

    Raises:
        FileNotFoundError: a module is missing.
        ValueError: modules import each other in a circle.
    """
    texts = [module_text(name) for name in module_order(entry)]
    return "\n".join(_EXPORT.sub("", _COMMENT.sub("", _IMPORT.sub("", text))) for text in texts)


def envelope(data: bytes, request: Mapping[str, object]) -> bytes:
    """Put a JSON block before a payload: a component's data can be bytes or JSON, not both.

    Args:
        data: a payload of ``analysis.payload``.
        request: what to show; any JSON.

    Returns:
        uint32 little-endian JSON length, JSON, zeros up to a multiple of 8 bytes, payload.
    """
    block = json.dumps(request, separators=(",", ":")).encode()
    head = struct.pack("<I", len(block)) + block
    return head + bytes(-len(head) % 8) + data
