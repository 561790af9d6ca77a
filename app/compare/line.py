"""Where a study stands in the line of jobs: how far it is, the stop, and the way on after an interruption."""

from __future__ import annotations

import os
from pathlib import Path

import streamlit as st

from compare.studies import StudyEntry
from flexlora.errors import FlexLoRAError
from flexlora.study.files import SPEC, is_held
from flexlora.study.partial import read_plan
from jobs.line import duration, progress_text
from jobs.live import LiveJob, Request
from jobs.owner import Owner, may, read_owner
from jobs.question import ask_for
from jobs.registry import REGISTRY
from jobs.start_up import start_up_s
from jobs.study_job import StudyJob, study_job
from runs.store import plain

TICK_S = 2.0
ANYWAY = "compare_unequal"
"""Whether the viewer compares although budgets differ."""
SIDE_BY_SIDE = "compare_side_by_side"


def default_side_by_side() -> int:
    """Return how many runs go side by side at first: one core is left to the pages."""
    return max(1, (os.cpu_count() or 1) - 1)


def agreed(entry: StudyEntry, me: Owner) -> bool:
    """Return whether somebody said, when the study was made, that its budgets may differ."""
    if entry.state == "done":
        # Its table is only written then.
        return True
    live = entry.live or REGISTRY.of(me)
    return live is not None and live.folder == entry.folder and isinstance(live.job, StudyJob) and live.job.unequal


def line_of(entry: StudyEntry, me: Owner, done: int, of: int, refused: str) -> None:
    """Draw how far a study is, and what its owner can do about it.

    Args:
        entry: the study.
        me: who looks.
        done: runs that have ended.
        of: how many there will be.
        refused: the sentence about unequal budgets, for which no table is written; empty where there is none.
    """
    live = entry.live
    if live is not None:
        st.fragment(_watch, run_every=TICK_S)(entry, live, me, done)
    elif entry.own and entry.state == "interrupted":
        _interrupted(entry, me, done, of, refused)


def _watch(entry: StudyEntry, live: LiveJob, me: Owner, done: int) -> None:
    assert isinstance(live.job, StudyJob)
    if entry.live is not live or live.runs - live.job.trials > done:
        st.rerun()
    share = min(live.step / max(live.job.steps, 1), 1.0)
    with st.container(border=True, key="compare_line"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f":material/science: **{plain(live.folder.name)}** is {_told(live)}.", width="stretch")
            if may(me, "stop", live.owner.key):
                _stop(live, me)
            else:
                st.caption("Another browser's: only its owner stops it.", width="content")
        st.progress(share)


def _told(live: LiveJob) -> str:
    if live.launched and live.state == "loading":
        left = start_up_s() - (0.0 if live.began is None else live.clock() - live.began)
        when = f"in about {duration(left)}" if left >= 1 else "at any moment"
        return f"starting: the first run begins {when}"
    if live.launched:
        text = progress_text(live)
        return text.replace("training", "under way", 1)
    line = REGISTRY.line()
    place = line.waiting.index(live) if live in line.waiting else 0
    starts = line.starts_s[place] if place < len(line.starts_s) else None
    return f"number {place + 1} in line" + (f" and starts in about {duration(starts)}" if starts is not None else "")


def _stop(live: LiveJob, me: Owner) -> None:
    if not live.launched:
        if st.button("Leave the line", key="compare_leave", icon=":material/close:"):
            REGISTRY.cancel(me)
            st.rerun()
    elif st.button(
        "Stop the study", key="compare_stop", icon=":material/stop:", disabled=live.controls.stopping,
        help="After the current steps; what is done is kept and can be gone on with",
    ):  # fmt: skip
        REGISTRY.send(me, live, {"command": "stop"})


def _interrupted(entry: StudyEntry, me: Owner, done: int, of: int, refused: str) -> None:
    last = REGISTRY.of(me)
    error = last.error if last is not None and last.folder == entry.folder else None
    if error and not refused:
        st.error(plain(error), icon=":material/error:")
    with st.container(horizontal=True, vertical_alignment="center", border=True, key="compare_interrupted"):
        told = f":material/pause_circle: Not done: **{done} of {of} runs** are there."
        if done == of and refused:
            told = f":material/balance: All {of} runs are there; without equal budgets no table is written."
        st.markdown(told, width="stretch")
        anyway = bool(st.session_state.get(ANYWAY)) or agreed(entry, me)
        if is_held(entry.folder):
            st.caption("A process beside this server works on it.", width="content")
        elif not may(me, "resume", read_owner(entry.folder)):
            st.caption("Another browser's: only its owner goes on with it.", width="content")
        elif st.button(
            "Write it with this note" if done == of and refused else "Go on with it",
            disabled=bool(done == of and refused and not anyway),
            key="compare_resume",
            type="primary",
            icon=":material/resume:",
        ):
            _resume(entry.folder, me, anyway)


def _resume(folder: Path, me: Owner, anyway: bool) -> None:
    try:
        plan = read_plan(folder)
        text = (folder / SPEC).read_text(encoding="utf-8")
    except (FlexLoRAError, OSError) as error:
        st.error(plain(str(error)), icon=":material/error:")
        return
    side_by_side = int(st.session_state.get(SIDE_BY_SIDE) or default_side_by_side())
    job = study_job(text, plan).planned(side_by_side, unequal=anyway)
    ask_for(REGISTRY, me, Request(job, folder=folder))
