"""``gallery``: runs as looping thumbnails of their rank maps, of which one is chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import streamlit as st
from streamlit.components.v2 import component

from analysis.player_modules import FOLDER
from assets import loader

_mount = component(
    "flexlora_gallery",
    js=loader("runs/gallery.js"),
    css=(FOLDER / "runs/gallery.css").read_text(encoding="utf-8"),
)


class Film(NamedTuple):
    """One thumbnail.

    Attributes:
        key: what is chosen.
        title: its name.
        line: what happens in it, in a few words.
        source: name of the run that it shows.
        frames: of ``analysis.rank_film``.
    """

    key: str
    title: str
    line: str
    source: str
    frames: dict[str, Any]


def gallery(key: str, films: Sequence[Film], chosen: str, on_choice: Callable[[str], None]) -> None:
    """Draw the thumbnails; they stand still where the system asks for less motion.

    Args:
        key: Streamlit key.
        films: in the order of reading; their colours share one scale.
        chosen: key of the one that is pressed.
        on_choice: called with the key of another one, before the page runs again.
    """

    def picked() -> None:
        choice = st.session_state[key]["picked"]
        if choice in {film.key for film in films}:
            on_choice(choice)

    _mount(key=key, data={"films": [film._asdict() for film in films], "chosen": chosen}, on_picked_change=picked)
