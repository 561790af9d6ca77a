"""The client-side player: its modules, joined for Streamlit, and the Python call that mounts it."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping

import streamlit as st
from streamlit.components.v2 import component

from analysis.player_script import FOLDER, envelope, joined_modules
from player.view import CHOICES, STAGES, PlayerView

__all__ = ["CHOICES", "STAGES", "PlayerView", "courier", "last_view", "player"]

_mount = component(
    "flexlora_player",
    js=joined_modules("player/source/component"),
    css=(FOLDER / "player/player.css").read_text(encoding="utf-8"),
)
_carry = component("flexlora_courier", js=joined_modules("player/source/courier"))


def player(
    data: bytes,
    key: str,
    *,
    run: str,
    wish: PlayerView | None = None,
    link: Mapping[str, str] | None = None,
    source: str | None = None,
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
        source: Address from where the browser can have `data`; where it cannot, it is sent after all.

    Returns:
        The view, reported when the user releases a control, never while the clock moves.
    """
    wish = wish or PlayerView()
    content = f"{len(data)}-{zlib.crc32(data):08x}"
    before = st.session_state.get(key) or {}
    if before.get("unfetched") == content:
        source = None
    request = {
        **wish.as_dict(),
        "run": run,
        "key": key,
        "id": json.dumps([run, *wish.as_dict().values()]),
        "content": content,
        "source": source,
        "bytes": len(data),
        "link": dict(link) if link else None,
    }
    sent = envelope(b"" if source else data, request)
    reported = _mount(key=key, data=sent, on_view_change=_nothing, on_unfetched_change=_nothing).get("view") or {}
    return wish if reported.get("run") != run else PlayerView.reported(reported)


def last_view(key: str, run: str, wish: PlayerView) -> PlayerView:
    """What `player` of this key is about to return: what the browser last reported of the run, else `wish`."""
    reported = (st.session_state.get(key) or {}).get("view") or {}
    return wish if reported.get("run") != run else PlayerView.reported(reported)


def courier(kind: str, *, to: str, run: str, data: bytes = b"", **about: object) -> None:
    """Brings a player what it needs later than its run, without sending the run again.

    Args:
        kind: "matrix", "why", "order" or "pin": which slot of the player it fills; the latest parcel of a kind holds.
        to: Streamlit key of the player.
        run: The run it is about; a player that shows another one leaves it.
        data: A payload.
        about: Further JSON of the parcel.
    """
    _carry(key=f"{to}_{kind}", data=envelope(data, {"to": to, "kind": kind, "run": run, **about}), height=1)


def _nothing() -> None:
    """Streamlit reports a state only when a callback asks for it."""
