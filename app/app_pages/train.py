"""Train: describe a job, start it in this server, watch it on the player, steer it."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import streamlit as st

from analysis.metrics import first_matrix
from flexlora.config import FlexLoRAConfig
from flexlora.job import Job
from jobs.form import job_form
from jobs.line import line_panel, progress_text
from jobs.live import LiveJob, Request
from jobs.owner import Owner, may, read_owner
from jobs.question import MESSAGE, ask_for, question_panel, resume
from jobs.registry import REGISTRY
from jobs.steering import steer_panel
from jobs.visitor import visitor
from links import go
from player import PlayerView, last_view, player
from player.extras import bring_extras, bring_spectrum
from runs.store import OpenRun, matrix_parcel, open_run, run_entries

PLAYER = "train_player"
TICK_S = 0.4
"""Faster than the two updates a second that are promised, slower than a rerun takes."""

STEER_S = 3.0
"""How often the panel learns how far the run is; what is being dragged or typed is left alone."""

BUTTONS = {
    "pause": ("Pause", ":material/pause:", "Wait before the next step"),
    "resume": ("Go on", ":material/play_arrow:", "Train on"),
    "step": ("One step", ":material/skip_next:", "Make one step, then wait"),
    "next_event": ("Next event", ":material/fast_forward:", "Train to the next reallocation, then wait"),
    "stop": ("Stop", ":material/stop:", "End this run after the current step; it can be resumed"),
}


def page() -> None:
    """Draws the page."""
    me = visitor()
    if request := st.session_state.pop("train_request", None):
        job, parent = request
        ask_for(REGISTRY, me, Request(job, parent))
    line_panel(REGISTRY, me)
    live, waiting = REGISTRY.of(me), REGISTRY.waiting_of(me)
    setup = st.expander(
        "Set up a run" if live is None else "Set up another run",
        expanded=live is None and waiting is None,
        icon=":material/edit:",
        key=f"train_setup_{live.folder.name if live else 0}_{waiting.folder.name if waiting else 0}",
    )
    with setup:
        job = job_form()
        _start_row(job, live, me)
        _interrupted(live, me)
    if message := st.session_state.pop(MESSAGE, None):
        st.warning(message, icon=":material/info:")
    question_panel(REGISTRY, me)
    if live is None:
        st.caption(
            "The run appears here step by step. Nothing is lost when this tab is closed: it goes on in the server."
        )
        return
    _watch(live, me)
    _steer(live, me)


def _steer(live: LiveJob, me: Owner) -> None:
    """Edit the schedule of the run that trains."""
    if not live.alive or not isinstance(live.job.config, FlexLoRAConfig):
        return
    with st.expander(
        "Steer: edit the schedule of this run", icon=":material/tune:", key=f"train_steer_{live.folder.name}"
    ):
        st.fragment(steer_panel, run_every=STEER_S)(live, partial(REGISTRY.send, me, live))


def _start_row(job: Job | None, live: LiveJob | None, me: Owner) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        pressed = st.button(
            "Start", key="train_start", type="primary", icon=":material/play_arrow:", disabled=job is None
        )
        paused = st.checkbox("paused, to go step by step", key="train_paused")
        if not me.lasting:
            st.caption(
                "This browser keeps no cookie of this server: after a reload of the page, a run that you start here is "
                "nobody's in particular."
            )
    if pressed and job is not None:
        ask_for(REGISTRY, me, Request(job, live.folder.name if live else None, paused))


def _interrupted(live: LiveJob | None, me: Owner) -> None:
    """Offer runs that ended early and left a checkpoint, if the viewer may go on with them."""
    if live is not None and live.alive:
        return
    found = {
        entry.folder.name: entry.folder
        for entry in run_entries()
        if entry.key.startswith("runs/")
        and (entry.folder / "checkpoint" / "state.safetensors").is_file()
        and REGISTRY.find(entry.folder) is None
        and may(me, "resume", read_owner(entry.folder))
    }
    if not found:
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.selectbox("A run that ended early", list(found), key="train_interrupted", width=320)
        if st.button("Resume it", key="train_resume", icon=":material/resume:"):
            resume(REGISTRY, me, found[name])


def _watch(live: LiveJob, me: Owner) -> None:
    @st.fragment(run_every=TICK_S if live.alive else None)
    def watch() -> None:
        if REGISTRY.of(me) is not live:
            st.rerun()
        shown_alive = st.session_state.get("train_shown_alive")
        st.session_state["train_shown_alive"] = live.alive
        _controls(live, me)
        if live.error:
            st.error(live.error, icon=":material/error:")
        if live.notice:
            st.info(live.notice, icon=":material/hourglass_top:")
        if (live.folder / "run.json").exists():
            opened = _latest(live)
            if opened is not None:
                _show(live.folder, opened)
        elif live.alive:
            st.info("Loading torch, the model and the data. The first job of a server takes a few seconds more.")
        if shown_alive and not live.alive:
            # A full rerun ends the ticking and offers what can be done with an ended run.
            st.rerun()

    watch()


def _show(folder: Path, opened: OpenRun) -> None:
    """The player; the spectrum of its matrix goes before it, so that a run that has grown finds it there."""
    key, state = f"runs/{folder.name}", st.session_state
    if state.get("train_first", ("",))[0] != key:
        state["train_first"] = (key, first_matrix(opened.run))
    wish = PlayerView(matrix=state["train_first"][1])
    bring_spectrum(opened, last_view(PLAYER, key, wish), to=PLAYER, key=key)
    view = player(opened.payload, PLAYER, run=key, wish=wish)
    bring_extras(opened.run, view, to=PLAYER, key=key)


def _latest(live: LiveJob) -> OpenRun | None:
    """Read the log again, but spend at most a fifth of the time on it: reading a long run takes a while."""
    state = st.session_state
    kept: tuple[Path, float, float, OpenRun | None] | None = state.get("train_opened")
    now = time.monotonic()
    if kept is not None and live.alive and kept[0] == live.folder and now - kept[1] < 4 * kept[2]:
        return kept[3]
    opened = open_run(live.folder)
    if opened is not None:
        matrix_parcel(opened, last_view(PLAYER, f"runs/{live.folder.name}", PlayerView()).matrix)
    state["train_opened"] = (live.folder, time.monotonic(), time.monotonic() - now, opened)
    return opened


def _controls(live: LiveJob, me: Owner) -> None:
    with st.container(horizontal=True, vertical_alignment="center", key="train_controls"):
        st.markdown(f"**{live.folder.name}** · {progress_text(live)}", width="content")
        st.space("stretch")
        if live.alive:
            names = ("resume" if live.controls.paused else "pause", "step", "next_event", "stop")
            for name in names:
                label, icon, help_text = BUTTONS[name]
                if st.button(label, key=f"train_{name}", icon=icon, help=help_text, disabled=live.controls.stopping):
                    REGISTRY.send(me, live, {"command": name})
        elif (live.folder / "run.json").exists():
            if live.step < live.job.steps and st.button("Resume", key="train_go_on", icon=":material/resume:"):
                resume(REGISTRY, me, live.folder)
            if st.button("Look at it in Explore", key="train_explore", icon=":material/explore:"):
                go("Explore", explore_run=f"runs/{live.folder.name}")
