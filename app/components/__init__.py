"""The client-side player: its modules, joined for Streamlit, and the Python call that mounts it."""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from streamlit.components.v2 import component

__all__ = ["COLOURS", "MODULES", "PlayerView", "envelope", "joined_modules", "player"]

FOLDER = Path(__file__).parent

COLOURS = ("rank", "change", "entropy", "energy")

# Dependency order: a module stands after those it imports. tests/app/test_components.py checks it.
MODULES = (
    "format",
    "draw",
    "palette",
    "decode",
    "run_spectra",
    "model",
    "clock",
    "colour",
    "rank_map",
    "entropy_strip",
    "spectrum",
    "curves",
    "timeline",
    "transport",
    "event_list",
    "sentence",
    "keys",
    "player",
    "component",
)

_IMPORT = re.compile(r"^import .*;\n", re.MULTILINE)
_COMMENT = re.compile(r"^ *(?:/\*\*.*?\*/|// [^\n]*)\n", re.MULTILINE | re.DOTALL)
_EXPORT = re.compile(r"^export (?!default\b)", re.MULTILINE)


class PlayerView(NamedTuple):
    """What the player shows, as last reported by the browser.

    Attributes:
        step: The recorded step at the clock, None before the first report.
        matrix: Name of the selected matrix, None before the first report.
        colour: One of `COLOURS`.
    """

    step: int | None
    matrix: str | None
    colour: str


def joined_modules(names: tuple[str, ...] = MODULES) -> str:
    """One script out of the component's ES modules.

    Streamlit serves a component's script from one string unless it is a packaged distribution, so import lines and
    the `export` keyword are dropped; all modules share one scope, hence top-level names are unique among them. The
    string travels with each new payload, twice a second while a run grows, hence without its comments.

    Args:
        names: Modules in dependency order, without their suffix.

    Returns:
        A module whose default export is the component's render function.
    """
    texts = [(FOLDER / f"{name}.js").read_text(encoding="utf-8") for name in names]
    return "\n".join(_EXPORT.sub("", _COMMENT.sub("", _IMPORT.sub("", text))) for text in texts)


_mount = component("flexlora_player", js=joined_modules(), css=(FOLDER / "player.css").read_text(encoding="utf-8"))


def envelope(data: bytes, request: Mapping[str, object]) -> bytes:
    """A JSON block before the payload: component data can be bytes or JSON, not both.

    Args:
        data: Payload of `analysis.payload.pack_run`.
        request: What to show; any JSON.

    Returns:
        uint32 little-endian JSON length, JSON, zeros up to a multiple of 8 bytes, payload.
    """
    block = json.dumps(request, separators=(",", ":")).encode()
    head = struct.pack("<I", len(block)) + block
    return head + bytes(-len(head) % 8) + data


def player(
    data: bytes,
    key: str,
    *,
    run: str,
    step: int | None = None,
    matrix: str | None = None,
    colour: str | None = None,
    link: Mapping[str, str] | None = None,
) -> PlayerView:
    """Shows a run in the browser and returns what the user looks at.

    The clock, the selection, the colour and the play state live in the browser. New `data` for the same run keeps
    them, and a clock at the newest record follows it. `step`, `matrix` and `colour` are obeyed when they differ from
    those of the last call: pass the same values again to leave the user alone.

    Args:
        data: Payload of `analysis.payload.pack_run`.
        key: Streamlit key; the element keeps its state as long as the key stays.
        run: What tells this run from others: another one resets clock and selection, and its report is not returned.
        step: Where the clock starts; None = where the payload parks it, or the newest record of a growing run.
        matrix: Matrix to select; None = one of the parked event.
        colour: One of `COLOURS`; None = rank.
        link: Query parameters that name the run. With them, the address bar follows the view.

    Returns:
        The view, reported when the user releases a control, never while the clock moves.
    """
    wish = {"step": step, "matrix": matrix, "colour": colour}
    request = {
        **wish,
        "run": run,
        "id": json.dumps([run, *wish.values()]),
        "content": f"{len(data)}-{zlib.crc32(data):08x}",
        "link": dict(link) if link else None,
    }
    reported = _mount(key=key, data=envelope(data, request), on_view_change=_nothing).get("view") or {}
    if reported.get("run") != run:
        return PlayerView(step, matrix, colour or COLOURS[0])
    return PlayerView(reported.get("step"), reported.get("matrix"), reported.get("colour", COLOURS[0]))


def _nothing() -> None:
    """Streamlit reports a state only when a callback asks for it."""
