"""The class's bar at the top of every page."""

from __future__ import annotations

from typing import Any

import streamlit as st
from streamlit.components.v2 import component

import links
from analysis.player_modules import FOLDER
from assets import loader
from classroom.error import ClassError
from classroom.lead import Lead, moved
from classroom.room import Room
from jobs.visitor import visitor
from runs import pinned
from runs.store import chosen_run

_mount = component(
    "flexlora_class_bar", js=loader("classroom/bar.js"), css=(FOLDER / "classroom/bar.css").read_text(encoding="utf-8")
)


def class_bar(room: Room) -> None:
    """Draw the bar; leave for the leader's page where the browser says that it follows and cannot show it itself."""
    data = {"title": room.codes.name, "explored": _explored() if room.leads(visitor().key) else {}}
    wanted = _mount(key="class_bar", data=data, on_follow_change=lambda: None).get("follow")
    if wanted and (place := _place(wanted)):
        links.follow(place.page, dict(place.query))


def _explored() -> dict[str, str]:
    """What Explore shows when its address does not say: others would see a run of their own there."""
    run, beside = st.session_state.get(links.EXPLORED), st.session_state.get(pinned.CHOSEN)
    if not run and (entry := chosen_run("")):
        run = entry.key
    return {name: key for name, key in (("run", run), (pinned.PARAMETER, beside)) if key}


def _place(wanted: Any) -> Lead | None:
    """What a browser sends is checked as what a leader sends."""
    try:
        return moved(Lead(), True, wanted.get("page"), wanted.get("query"))
    except (ClassError, AttributeError):
        return None
