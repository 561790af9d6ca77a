"""The leader's hand on what trains: stop one, stop all, steer, and how large a job may be."""

from __future__ import annotations

from functools import partial

import streamlit as st

from classroom.acting import act_on
from classroom.room import Room
from classroom.state import capped
from flexlora.errors import FlexLoRAError
from flexlora.job import Job
from jobs.caps import Caps
from jobs.line import progress_text
from jobs.live import LiveJob
from jobs.owner import Owner
from jobs.registry import Registry
from jobs.sharing import name_of
from jobs.steering import steer_panel
from runs.store import plain


def jobs_panel(registry: Registry, me: Owner) -> None:
    """Draw what trains and what waits, with what the leader can do about it."""
    line = registry.line()
    jobs = [*([line.running] if line.running else []), *line.waiting]
    if not jobs:
        st.caption("Nothing trains, and nobody waits.")
        return
    for place, live in enumerate(jobs):
        with st.container(horizontal=True, vertical_alignment="center"):
            who = name_of(live.owner.key) or "another browser"
            told = progress_text(live) if live.launched else f"number {place + 1 - bool(line.running)} in line"
            st.markdown(f"**{plain(live.folder.name)}** · {plain(who)} · {told}", width="stretch")
            label = "Stop" if live.launched else "Take it out"
            key, gone = f"class_stop_{live.folder.name}", live.controls.stopping
            st.button(label, key=key, on_click=_stop, args=(registry, me, live), disabled=gone)
    with st.popover("Stop all", icon=":material/stop:", key="class_stop_all"):
        count = f"{len(jobs)} {'job' if len(jobs) == 1 else 'jobs'}"
        st.markdown(f"Stop {count}? What has trained keeps its log and can be resumed; what waits leaves the line.")
        st.button(f"Stop {count}", key="class_stop_all_now", type="primary", on_click=_stop_all, args=(registry, me))


def steering(registry: Registry, me: Owner) -> None:
    """Draw the editor of the schedule of what trains, whoever started it."""
    live = registry.line().running
    if live is None or not live.has_log or not isinstance(live.job, Job):
        st.caption("No run trains that could be steered.")
        return
    st.markdown(f"**{plain(live.folder.name)}** · {plain(name_of(live.owner.key) or 'another browser')}")
    steer_panel(live, partial(registry.send, me, live))


def caps_panel(room: Room) -> None:
    """Draw the bounds of members' jobs; the leader's own have none."""
    caps = room.state.caps
    names = {"steps": "Steps", "rank": "Rank", "study_runs": "Runs of a study", "study_steps": "Steps of a study"}
    columns = st.columns(len(names))
    held = {
        name: int(column.number_input(label, 1, 1_000_000, getattr(caps, name), key=f"class_cap_{name}"))
        for column, (name, label) in zip(columns, names.items(), strict=True)
    }
    wanted = Caps(**held)
    st.button(
        "Set", key="class_caps", disabled=wanted == caps, on_click=act_on, args=(room, capped, wanted),
        help="Holds for every Start from now on; what trains goes on",
    )  # fmt: skip


def _stop_all(registry: Registry, me: Owner) -> None:
    registry.stop_all(me)


def _stop(registry: Registry, me: Owner, live: LiveJob) -> None:
    try:
        registry.stop(me, live)
    except FlexLoRAError as error:
        st.warning(plain(str(error)))
