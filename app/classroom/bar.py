"""The class's bar at the top of every page."""

from __future__ import annotations

from typing import Any

from streamlit.components.v2 import component

import links
from analysis.player_modules import FOLDER
from assets import loader
from classroom.error import ClassError
from classroom.lead import Lead, moved
from classroom.room import Room

_mount = component(
    "flexlora_class_bar", js=loader("classroom/bar.js"), css=(FOLDER / "classroom/bar.css").read_text(encoding="utf-8")
)


def class_bar(room: Room) -> None:
    """Draw the bar; leave for the leader's page where the browser says that it follows and cannot show it itself."""
    wanted = _mount(key="class_bar", data={"title": room.codes.name}, on_follow_change=lambda: None).get("follow")
    if wanted and (place := _place(wanted)):
        links.follow(place.page, dict(place.query))


def _place(wanted: Any) -> Lead | None:
    """What a browser sends is checked as what a leader sends."""
    try:
        return moved(Lead(), True, wanted.get("page"), wanted.get("query"))
    except (ClassError, AttributeError):
        return None
