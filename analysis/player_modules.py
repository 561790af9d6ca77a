"""The browser's modules, files of the repository's ``app`` that are read as data, and what each of them imports."""

from __future__ import annotations

import posixpath
import re
from functools import cache
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
# The wheel installs the repository's `app` under the name of the distribution.
FOLDER = next((found for found in (_ROOT / "flexlora_lab", _ROOT / "app") if found.is_dir()), _ROOT / "app")

# A comment ends where it first ends: what follows on its line is code.
_COMMENT = re.compile(r"^ *(?:/\*\*(?:(?!\*/).)*\*/|// [^\n]*)\n", re.MULTILINE | re.DOTALL)
_IMPORT = re.compile(r'^((?:import|export) (?:.* from )?)"(\.{1,2}/[\w/.-]+)";$', re.MULTILINE)


def module_text(name: str) -> str:
    """Return the source of a module, named by its path below ``FOLDER``.

    Raises:
        FileNotFoundError: there is no such module, as where the package was installed without its repository.
    """
    return (FOLDER / name).read_text(encoding="utf-8")


@cache
def module_closure(entry: str) -> tuple[str, ...]:
    """Return a module and all that it imports, each once.

    Raises:
        FileNotFoundError: a module is missing.
    """
    found = [entry]
    for name in found:
        others = [_resolved(name, path) for _, path in _IMPORT.findall(module_text(name))]
        found += [other for other in dict.fromkeys(others) if other not in found]
    return tuple(found)


def import_map(entry: str) -> dict[str, str]:
    """Return module → its text as a data URL, without comments: in a page, modules import each other by these names.

    Raises:
        FileNotFoundError: a module is missing.
    """
    return {name: _data_url(name) for name in module_closure(entry)}


def _data_url(name: str) -> str:
    text = _COMMENT.sub("", module_text(name))
    named = _IMPORT.sub(lambda found: f'{found[1]}"{_resolved(name, found[2])}";', text)
    # What an address cannot hold; the rest stays as it is, and compresses like text.
    return "data:text/javascript;charset=utf-8," + re.sub(r"[%#\n\t]", lambda found: f"%{ord(found[0]):02X}", named)


def _resolved(name: str, path: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), path))
