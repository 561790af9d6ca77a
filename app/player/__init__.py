"""The client-side player, and the Python call that mounts it."""

from __future__ import annotations

import json
from collections.abc import Mapping

from streamlit.components.v2 import component

from assets import loader
from player.view import CHOICES, STAGES, PlayerView

__all__ = ["CHOICES", "STAGES", "PlayerView", "player"]

_mount = component("flexlora_player", js=loader("player/source/component.js"))


def player(
    key: str,
    *,
    run: str,
    wish: PlayerView | None = None,
    link: Mapping[str, str] | None = None,
    beside: Mapping[str, str] | None = None,
    shared: str | None = None,
    live: bool = False,
    guide: Mapping[str, str | None] | None = None,
) -> PlayerView:
    """Shows a run in the browser, which asks the server for its numbers, and returns what the user looks at.

    The clock, the selection, the choices and the play state live in the browser. A run that goes on is followed there.
    `wish` is obeyed when it differs from that of the last call: pass the same again to leave the user alone.

    Args:
        key: Streamlit key; the element keeps its state as long as the key stays.
        run: Key of `RunEntry`: another one resets clock and selection, and the report of the last one is not returned.
        wish: Where to start.
        link: Query parameters that name the run. With them, the address bar follows the view.
        beside: A second run under the same clock: its key is `run`, what the player calls it `name`.
        shared: The page that a copied link opens, None = this one.
        live: This server trains the run: it is asked for what is new also while its log does not say so.
        guide: An introduction stands above, with a link to its `example`, the key of a run that moves rank.

    Returns:
        The view, reported when the user releases a control, never while the clock moves.
    """
    wish = wish or PlayerView()
    request = {
        **wish.as_dict(),
        "run": run,
        "id": json.dumps([run, *wish.as_dict().values()]),
        "link": dict(link) if link else None,
        "beside": dict(beside) if beside else None,
        "shared": shared,
        "live": live,
        "guide": dict(guide) if guide is not None else None,
        "served": True,
    }
    # Streamlit reports a state only when a callback asks for it.
    reported = _mount(key=key, data=request, on_view_change=lambda: None).get("view") or {}
    return wish if reported.get("run") != run else PlayerView.reported(reported)
