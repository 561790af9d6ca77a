"""The client-side player: its modules, joined for Streamlit, and the Python call that mounts it."""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

from streamlit.components.v2 import component

from components.view import CHOICES, STAGES, PlayerView

__all__ = ["CHOICES", "MODULES", "STAGES", "PlayerView", "courier", "envelope", "joined_modules", "player"]

FOLDER = Path(__file__).parent

# Dependency order: a module stands after those it imports. tests/app/test_components.py checks it.
MODULES = (
    "format",
    "draw",
    "choice",
    "palette",
    "decode",
    "parcels",
    "model",
    "stages",
    "clock",
    "colour",
    "scene",
    "describe",
    "rank_map",
    "tiles",
    "stage_map",
    "event_maps",
    "pinned",
    "pair_map",
    "maps",
    "spectrum",
    "why_card",
    "sides",
    "entropy_strip",
    "bands",
    "curves",
    "timeline",
    "transport",
    "event_list",
    "sentence",
    "view_state",
    "keys",
    "pointer",
    "fade",
    "mailbox",
    "stage_dom",
    "tell",
    "player",
    "component",
)

COURIER = ("decode", "parcels", "courier")

_IMPORT = re.compile(r"^import .*;\n", re.MULTILINE)
_COMMENT = re.compile(r"^ *(?:/\*\*.*?\*/|// [^\n]*)\n", re.MULTILINE | re.DOTALL)
_EXPORT = re.compile(r"^export (?!default\b)", re.MULTILINE)


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
_carry = component("flexlora_courier", js=joined_modules(COURIER))


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
    data: bytes, key: str, *, run: str, wish: PlayerView | None = None, link: Mapping[str, str] | None = None
) -> PlayerView:
    """Shows a run in the browser and returns what the user looks at.

    The clock, the selection, the choices and the play state live in the browser. New `data` for the same run keeps
    them, and a clock at the newest record follows it. `wish` is obeyed when it differs from that of the last call: pass
    the same again to leave the user alone.

    Args:
        data: Payload of `analysis.payload.pack_run`.
        key: Streamlit key; the element keeps its state as long as the key stays.
        run: What tells this run from others: another one resets clock and selection, and its report is not returned.
        wish: Where to start.
        link: Query parameters that name the run. With them, the address bar follows the view.

    Returns:
        The view, reported when the user releases a control, never while the clock moves.
    """
    wish = wish or PlayerView()
    request = {
        **wish.as_dict(),
        "run": run,
        "key": key,
        "id": json.dumps([run, *wish.as_dict().values()]),
        "content": f"{len(data)}-{zlib.crc32(data):08x}",
        "link": dict(link) if link else None,
    }
    reported = _mount(key=key, data=envelope(data, request), on_view_change=_nothing).get("view") or {}
    return wish if reported.get("run") != run else PlayerView.reported(reported)


def courier(kind: str, *, to: str, run: str, data: bytes = b"", **about: object) -> None:
    """Brings a player what it needs later than its run, without sending the run again.

    Args:
        kind: "matrix", "why" or "pin": which slot of the player it fills; the latest parcel of a kind holds.
        to: Streamlit key of the player.
        run: The run it is about; a player that shows another one leaves it.
        data: A payload.
        about: Further JSON of the parcel.
    """
    _carry(key=f"{to}_{kind}", data=envelope(data, {"to": to, "kind": kind, "run": run, **about}), height=1)


def _nothing() -> None:
    """Streamlit reports a state only when a callback asks for it."""
