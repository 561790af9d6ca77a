"""Live steering: the schedule panel on a run that trains, and the command that repeats what was edited."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable
from typing import Any

import streamlit as st

from analysis.from_here import coming, describe_coming, here
from analysis.run_config import config_at, edits
from analysis.runs import Run, load_run
from flexlora.config import FlexLoRAConfig
from flexlora.errors import FlexLoRAError
from flexlora.job import Job, command_line
from flexlora.run_log import RunLogError
from jobs.live import LiveJob
from runs.store import adapter_size, plain
from schedule.editor import draw_schedule
from schedule.panel import edited_config, editing, schedule_fields, schedule_options, schedule_plot

ANSWER_S = 3.0
"""A step of the embedded tasks takes a tenth of a second."""


def steer_panel(live: LiveJob, send: Callable[[dict[str, Any]], None]) -> None:
    """Draw the panel of a run of flexlora: pending changes are sent as one edit, which applies before the next step.

    Once the run has ended, it shows the schedule that it was trained with.
    """
    job = live.job
    if not isinstance(job, Job):
        return
    run = _log(live)
    config = config_at(run) if run is not None else job.config
    if not isinstance(config, FlexLoRAConfig):
        return
    made = edits(run) if run is not None else []
    scope = f"steer_{live.folder.name}_{len(made)}"
    at, adapter = None if run is None else here(run), adapter_size(job.task, config)
    if not live.alive:
        st.markdown("**The schedule it was trained with**")
        if at is not None:
            draw_schedule(config, schedule_options(config), adapter, f"{scope}_plot", len(made), here=at)
            st.caption(plain(describe_coming(config, at)))
        _told(live, job, run)
        return
    st.markdown("**Steer: edit the schedule from here on**")
    wanted = edited_config(scope, config)
    if wanted is None:
        return
    schedule_plot(scope, config, wanted, adapter, at)
    changes = editing(scope).changes
    with st.container(horizontal=True, vertical_alignment="center"):
        pressed = st.button("Apply", key=f"{scope}_apply", type="primary", icon=":material/send:", disabled=not changes)
        later = next((step for step in wanted.event_steps() if step > live.step), None)
        told = f"Next event with it: step {later}." if later else "No event is left with it."
        if at is not None and not coming(wanted, at).active:
            told = "Nothing moves any more with it."
        st.caption(f"Holds from the next step on; what is past stays. {told}", width="stretch")
    schedule_fields(scope, config, wanted, live.step)
    if pressed:
        send({"command": "set", "values": dict(changes)})
        _await_answer(live, run)
        st.rerun(scope="fragment")
    _told(live, job, run)


def _await_answer(live: LiveJob, before: Run | None) -> None:
    """Wait until the log says what became of an edit, or long enough: a step may take a while."""
    known = 0 if before is None else len(before.notes)
    deadline = time.monotonic() + ANSWER_S
    while time.monotonic() < deadline and live.alive:
        run = _log(live)
        if run is not None and any(note["kind"].startswith("edit") for note in run.notes[known:]):
            return
        time.sleep(0.05)


def _log(live: LiveJob) -> Run | None:
    try:
        return load_run(live.folder)
    except (RunLogError, FlexLoRAError):
        return None


def _told(live: LiveJob, job: Job, run: Run | None) -> None:
    """List what was edited or refused, and the command that makes the same run."""
    if run is None:
        return
    refused = [note for note in run.notes if note.get("kind") == "edit_refused"]
    for note in refused[-1:]:
        st.warning(plain(f"Refused after step {note['step']}: {note['message']}"), icon=":material/block:")
    made = edits(run)
    if not made:
        return
    words = []
    for step, changes in made:
        told = ", ".join(f"{key} = {value}" for key, value in changes.items())
        st.caption(plain(f"After step {step}: {told}"))
        for key, value in changes.items():
            text = json.dumps(value) if isinstance(value, list) else "none" if value is None else str(value)
            words += ["--edit", shlex.quote(f"{step}:{key}={text}")]
    st.caption("The same run from the command line:")
    st.code(f"{command_line(job, live.folder.name)} {' '.join(words)}", language="bash", wrap_lines=True)
