"""What comes before a start: is that job in the log already, does the viewer's own job stand in its way?"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import streamlit as st

from flexlora.errors import FlexLoRAError
from flexlora.job import Job
from flexlora.run_log import RunLogError, glance_run, run_state
from jobs.line import progress_text
from jobs.live import LiveJob, Request
from jobs.owner import Owner
from jobs.registry import Registry
from links import go
from runs.replays import trained_already
from runs.store import RunEntry, plain, runs_root

ASKED = "train_asked"
MESSAGE = "train_message"


class Question(NamedTuple):
    """A start that waits for an answer.

    Attributes:
        request: what would be started.
        same: a finished run of the same job; None when the viewer's own job is what stands in the way.
    """

    request: Request
    same: RunEntry | None


def ask_for(registry: Registry, me: Owner, request: Request, *, again: bool = False, replace: bool = False) -> None:
    """Start a job, or put the question that comes before it; the page runs again.

    ``again``: also when the log has that job already; ``replace``: also in the place of the viewer's own job.
    """
    state = st.session_state
    state.pop(ASKED, None)
    mine = registry.busy_with(me)
    if mine is not None and (mine.job, mine.request.folder) == (request.job, request.folder) and not mine.moved:
        # Many quick clicks ask for one thing.
        st.rerun()
    same = None if again or request.folder is not None else trained_already(request.job)
    if same is not None or (mine is not None and not replace):
        state[ASKED] = Question(request, same)
    else:
        try:
            registry.start(me, request, runs_root(), replace=replace)
            if registry.offered(me, runs_root()) == request:
                registry.forget_offer(me, runs_root())
        except FlexLoRAError as error:
            state[MESSAGE] = str(error)
    st.rerun()


def resume(registry: Registry, me: Owner, folder: Path) -> None:
    """Ask for a run to go on; the page runs again."""
    try:
        glance = glance_run(folder)
        if run_state(folder, glance.end) == "running" and registry.find(folder) is None:
            raise FlexLoRAError("another process trains it")
        job = Job.from_dict(glance.header["config"])
    except (RunLogError, FlexLoRAError, KeyError) as error:
        st.session_state[MESSAGE] = f"{folder.name} cannot be resumed: {error}"
        st.rerun()
    ask_for(registry, me, Request(job, folder=folder))


def question_panel(registry: Registry, me: Owner) -> None:
    """Draw the question that waits for an answer, or what the viewer waited for when the last server ended."""
    question: Question | None = st.session_state.get(ASKED)
    if question is None:
        _offer(registry, me)
        return
    with st.container(horizontal=True, vertical_alignment="center", border=True, key="train_question"):
        if question.same is not None:
            name = plain(question.same.key)
            st.markdown(f":material/history: **{name}** is exactly this job, trained to its end.", width="stretch")
            if st.button("Look at it", key="train_look", type="primary", icon=":material/explore:"):
                del st.session_state[ASKED]
                go("Explore", explore_run=question.same.key)
            if st.button("Train it again", key="train_again", icon=":material/replay:"):
                ask_for(registry, me, question.request, again=True)
        else:
            text, label = _obstacle(registry.busy_with(me), len(registry.line().waiting))
            st.markdown(f":material/help: {text}", width="stretch")
            if st.button(label, key="train_replace", type="primary", icon=":material/play_arrow:"):
                ask_for(registry, me, question.request, again=True, replace=True)
        if st.button("Never mind", key="train_never_mind"):
            del st.session_state[ASKED]
            st.rerun()


def _obstacle(mine: LiveJob | None, waiting: int) -> tuple[str, str]:
    """What stands in the way of a start, and the label of the button that starts all the same."""
    if mine is None:
        return "Nothing of yours is in its way any more.", "Start it"
    name = f"Your run **{plain(mine.folder.name)}**"
    if not mine.launched:
        return f"{name} waits in line, and everybody has one place there.", "Start this one in its place"
    behind = f" The new one goes to the end of the line, behind {waiting}." if waiting else ""
    return (
        f"{name} is {progress_text(mine)}. Stopped, it keeps its log and can be resumed.{behind}",
        "Stop it and start the new one",
    )


def _offer(registry: Registry, me: Owner) -> None:
    request = registry.offered(me, runs_root())
    if request is None:
        return
    job = request.job
    what = (
        f"to go on with {request.folder.name}" if request.folder else f"{job.method} on {job.task}, {job.steps} steps"
    )
    with st.container(horizontal=True, vertical_alignment="center", border=True, key="train_offer"):
        st.markdown(f":material/history: The server ended while this waited in line: {plain(what)}.", width="stretch")
        if st.button("Start it", key="train_offer_start", icon=":material/play_arrow:"):
            ask_for(registry, me, request)
        if st.button("Forget it", key="train_offer_forget"):
            registry.forget_offer(me, runs_root())
            st.rerun()
