"""Train: describe a job, start it in this server, watch it on the player, steer it."""

from __future__ import annotations

from functools import partial

import streamlit as st

from flexlora.config import FlexLoRAConfig
from flexlora.job import Job
from jobs import sharing
from jobs.caps import describe_caps, refused_size
from jobs.form import job_form
from jobs.line import line_panel, progress_text
from jobs.live import LiveJob, Request
from jobs.owner import Owner, may, read_owner
from jobs.question import MESSAGE, ask_for, question_panel, resume
from jobs.registry import REGISTRY, loads_torch
from jobs.steering import steer_panel
from jobs.study_job import StudyJob
from jobs.visitor import visitor
from links import compare, explore, what_if_button
from player import PlayerView, player
from runs.link import read_link
from runs.rows import DAMAGED, read_row
from runs.store import open_run, plain, run_entries
from widgets import act

PLAYER = "train_player"
PRESSED = "train_pressed"
"""Start was pressed. A run of the script that is overtaken by the next one before it gets there loses no click so."""
TICK_S = 1.0
"""How often the controls learn how far the run is; the picture follows by itself (docs/explore.md)."""

STEER_S = 1.5
"""How often the panel learns how far the run is; what is being dragged or typed is left alone."""

BESIDE = "beside_train"
"""Key of what holds two columns, which a narrow window shows below each other: see STYLE in main.py."""

BUTTONS = {
    "pause": ("Pause training", ":material/pause:", "Wait before the next step"),
    "resume": ("Train on", ":material/play_arrow:", "Go on with the training"),
    "step": ("Train one step", ":material/skip_next:", "Make one step, then wait"),
    "next_event": (
        "Train to the next event",
        ":material/fast_forward:",
        "Train to the next event, then wait; late in a schedule it may move nothing",
    ),
    "stop": ("Stop training", ":material/stop:", "End this run after the current step; it can be resumed"),
}


def page() -> None:
    """Draws the page."""
    me = visitor()
    if request := st.session_state.pop("train_request", None):
        job, parent = request
        ask_for(REGISTRY, me, Request(job, parent))
    line_panel(REGISTRY, me, st.session_state.get(PRESSED, False))
    if message := st.session_state.pop(MESSAGE, None):
        st.warning(message, icon=":material/info:")
    question_panel(REGISTRY, me)
    live, waiting = _run_of(me), REGISTRY.waiting_of(me)
    # What trains comes first. Its place among the others stays, so that the player stays when the run ends.
    before, training, after = st.container(), st.container(), st.container()
    setup = (after if live is not None and live.alive else before).expander(
        "Set up a run" if live is None else "Set up another run",
        expanded=live is None and waiting is None,
        icon=":material/edit:",
        key=f"train_setup_{live.folder.name if live else 0}_{waiting.folder.name if waiting else 0}",
    )
    # Before the form, which takes longer: controls of a run that has ended must not stay beside the next one.
    with training:
        if live is not None:
            _watch(live, me)
            _stage(live, me)
        elif waiting is None:
            st.caption(
                "The run appears here step by step. It goes on in the server when this tab is closed; everybody who "
                "reaches this server can look at it, and only you can steer it."
            )
    with setup:
        job = job_form()
        _start_row(job, live, me)
        _interrupted(live, me)


def _run_of(me: Owner) -> LiveJob | None:
    """Return the viewer's run that trains, or the last one that did; a study is watched on Compare."""
    live = REGISTRY.of(me)
    if live is None or not isinstance(live.job, StudyJob):
        return live
    if live.alive:
        with st.container(horizontal=True, vertical_alignment="center", border=True, key="train_study"):
            told = f"Your study **{plain(live.folder.name)}** is under way; everybody has one job at a time."
            st.markdown(f":material/science: {told}", width="stretch")
            if st.button("Watch it on Compare", key="train_to_compare", icon=":material/compare_arrows:"):
                compare(f"runs/{live.folder.name}")
    return None


def _stage(live: LiveJob, me: Owner) -> None:
    """The player and, where there is a schedule, its editor beside it: also at the end, so that the film goes on."""
    shown = live.has_log and not _log(live)[1]
    if not isinstance(live.job, Job) or not isinstance(live.job.config, FlexLoRAConfig):
        if shown:
            _play(live)
        return
    with st.container(key=BESIDE):
        left, right = st.columns([0.68, 0.32])
        with left:
            if shown:
                _play(live)
        with right, st.container(key=f"train_steer_{live.folder.name}"):
            every = STEER_S if live.alive else None
            st.fragment(steer_panel, run_every=every)(live, partial(REGISTRY.send, me, live))


def _play(live: LiveJob) -> None:
    # The browser asks for what is new; a release in the player reruns no more than this.
    st.fragment(_player)(f"runs/{live.folder.name}", live)


def _player(key: str, live: LiveJob) -> None:
    """The address keeps what is looked at, as far as a reload; a link for others leads to Explore."""
    wished = f"train_wish_{key}"
    if wished not in st.session_state:
        address = st.query_params.to_dict()
        opened = open_run(live.folder) if address.get("run") == key else None
        if opened is None:
            st.query_params.from_dict({"run": key})
        st.session_state[wished] = read_link(address, opened.run).view if opened else PlayerView()
    player(PLAYER, run=key, wish=st.session_state[wished], link={"run": key}, shared="explore", live=live.alive)


def _start_row(job: Job | None, live: LiveJob | None, me: Owner) -> None:
    if (caps := sharing.caps_of(me.key)) is not None:
        too_large = job and refused_size(caps, job)
        st.caption(describe_caps(caps) if not too_large else f":material/block: {plain(too_large)}")
        job = None if too_large else job
    with st.container(horizontal=True, vertical_alignment="center"):
        press = partial(st.session_state.update, {PRESSED: True})
        act("Start", "train_start", ":material/play_arrow:", press, type="primary", disabled=job is None)
        paused = st.checkbox("paused, to go step by step", key="train_paused")
        if not me.lasting:
            st.caption(
                "This browser keeps no cookie of this server: after a reload of the page, a run that you start here is "
                "nobody's in particular."
            )
    if st.session_state.pop(PRESSED, False) and job is not None:
        ask_for(REGISTRY, me, Request(job, _parent(job, live), paused))


def _parent(job: Job, live: LiveJob | None) -> str | None:
    """Return the run from whose settings these were edited: the one above the form, unless its job is another one."""
    if live is None or not isinstance(live.job, Job):
        return None
    same = (job.task, job.method, job.config.seed) == (live.job.task, live.job.method, live.job.config.seed)
    return live.folder.name if same else None


def _interrupted(live: LiveJob | None, me: Owner) -> None:
    """Offer runs that ended early and left a checkpoint, if the viewer may go on with them."""
    if live is not None and live.alive:
        return
    found = {
        entry.folder.name: entry.folder
        for entry in run_entries()
        if entry.key.startswith("runs/")
        and any((entry.folder / "checkpoint").glob("*.safetensors"))
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
        shown = st.session_state.get("train_shown")
        st.session_state["train_shown"] = now = (live.folder, live.alive, live.has_log)
        # It has ended and waits in line to go on.
        goes_on = (waiting := REGISTRY.waiting_of(me)) is not None and waiting.folder == live.folder
        _controls(live, me, goes_on)
        if fault := live.error or _log(live)[1]:
            st.error(plain(fault), icon=":material/error:")
        elif live.notice and not goes_on:
            st.info(plain(live.notice), icon=":material/hourglass_top:")
        if live.alive and not live.has_log:
            first = " The first job of a server loads torch, too." if loads_torch() else ""
            st.info(f"Loading the model and the data.{first}")
        if shown != now and shown is not None and shown[0] == live.folder:
            # A full rerun brings the player, and at the end stops the ticking and offers what can be done then.
            st.rerun()

    watch()


def _log(live: LiveJob) -> tuple[str, str]:
    """Return what the log of a run that has ended measured, and why it cannot be read; empty for none."""
    if live.alive or not (live.has_log or live.step):
        return "", ""
    row = read_row(f"runs/{live.folder.name}", live.folder)
    return "" if row.result is None else f" · {row.measured} {row.result:.3f}", row.fault * (row.state == DAMAGED)


def _controls(live: LiveJob, me: Owner, goes_on: bool) -> None:
    with st.container(horizontal=True, vertical_alignment="center", key="train_controls"):
        told = f"waits in line to go on from step {live.step} of {live.job.steps}" if goes_on else progress_text(live)
        result, fault = _log(live)
        st.markdown(f"**{plain(live.folder.name)}** · {told}{result}", width="content")
        st.space("stretch")
        if live.alive:
            for name in ("resume" if live.controls.paused else "pause", "step", "next_event", "stop"):
                label, icon, help_text = BUTTONS[name]
                if st.button(label, key=f"train_{name}", icon=icon, help=help_text, disabled=live.controls.stopping):
                    REGISTRY.send(me, live, {"command": name})
        if fault or not live.has_log:
            return
        unfinished = live.step < live.job.steps and not live.alive and not goes_on
        if unfinished and st.button("Resume", key="train_go_on", icon=":material/resume:"):
            resume(REGISTRY, me, live.folder)
        if st.button("Look at it in Explore", key="train_explore", icon=":material/explore:"):
            explore(f"runs/{live.folder.name}")
        if not live.alive and (opened := open_run(live.folder)):
            what_if_button(f"runs/{live.folder.name}", opened.run)
