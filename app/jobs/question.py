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
from jobs.owner import Owner, read_owner
from jobs.recorded import is_long, nearest_recorded
from jobs.registry import Registry
from jobs.sharing import name_of
from links import explore, go, has
from runs.replays import trained_already
from runs.rows import BUNDLED, OTHERS, YOURS, RunRow, describe_row, whose
from runs.store import RunEntry, plain, runs_root

ASKED = "train_asked"
WHOSE = {YOURS: "Your run", OTHERS: "Another browser's run", BUNDLED: "The bundled run"}
MESSAGE = "train_message"
PLAYGROUND = "Playground"


class _Asked(NamedTuple):
    """What a question is about: the request, a run of the same job, and a recorded one to look at meanwhile."""

    request: Request
    same: RunEntry | None
    recorded: RunRow | None = None


def ask_for(registry: Registry, me: Owner, request: Request, *, again: bool = False, replace: bool = False) -> None:
    """Start a job, or put the question that comes before it; the page runs again.

    ``again``: also when the log has that job already, or many wait.
    ``replace``: also in the place of the viewer's own job.
    """
    state = st.session_state
    state.pop(ASKED, None)
    mine = registry.busy_with(me)
    if mine is not None and not (mine.moved or mine.controls.stopping) and mine.request.same_as(request):
        # Many quick clicks ask for one thing.
        st.rerun()
    job = request.job
    new = not again and request.folder is None
    same = _same_job(registry, job) if new and isinstance(job, Job) else None
    waits = new and not replace and registry.waiting_of(me) is None and is_long(registry.line())
    recorded = nearest_recorded(job) if waits and same is None and isinstance(job, Job) else None
    if same is not None or recorded is not None or (mine is not None and not replace):
        state[ASKED] = _Asked(request, same, recorded)
    else:
        try:
            registry.start(me, request, runs_root(), replace=replace)
            if registry.offered(me, runs_root()) == request:
                registry.forget_offer(me, runs_root())
        except FlexLoRAError as error:
            state[MESSAGE] = str(error)
    st.rerun()


def _same_job(registry: Registry, job: Job) -> RunEntry | None:
    """Return a run of this job that is in line, in training or in the log."""
    line = registry.line()
    jobs = [live for live in (line.running, *line.waiting) if live and live.job == job and not live.controls.stopping]
    for live in jobs:
        if not live.has_log:
            return RunEntry(f"runs/{live.folder.name}", live.folder)
    return trained_already(job, [live.folder for live in jobs])


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
    ask_for(registry, me, Request(job, folder=folder, step=glance.step if glance.end else 0))


def question_panel(registry: Registry, me: Owner) -> None:
    """Draw the question that waits for an answer, or what the viewer waited for when the last server ended."""
    if ASKED in st.session_state:
        # A dialog: whoever pressed Start is anywhere on a long page.
        st.dialog("Before it starts", icon=":material/help:", on_dismiss=_forget)(_ask)(registry, me)
    else:
        _offer(registry, me)


def _forget() -> None:
    st.session_state.pop(ASKED, None)


def _ask(registry: Registry, me: Owner) -> None:
    request, same, recorded = st.session_state[ASKED]
    if recorded is not None:
        _ask_to_wait(registry, me, request, recorded)
        return
    if same is None:
        look, key = "", "train_replace"
        text, train = _obstacle(registry.busy_with(me), len(registry.line().waiting))
    else:
        live, key = registry.find(same.folder), "train_again"
        state = "trained to its end" if live is None else progress_text(live)
        name, where = name_of(read_owner(same.folder)), whose(same.key, same.folder, me)
        who = f"The run of {plain(name)}" if name is not None and where == OTHERS else WHOSE[where]
        text = f"{who} **{plain(same.folder.name)}** is exactly this job, {state}."
        look, train = ("Look at it", "Train it again") if live is None else ("Watch it in Explore", "Train it anyway")
        look = look if live is None or live.has_log else ""
    st.markdown(text)
    with st.container(horizontal=True):
        if same is not None and look and st.button(look, key="train_look", type="primary", icon=":material/explore:"):
            _forget()
            explore(same.key)
        if st.button(train, key=key, icon=":material/play_arrow:"):
            ask_for(registry, me, request, again=True, replace=same is None)
        if st.button("Never mind", key="train_never_mind"):
            _forget()
            st.rerun()


def _ask_to_wait(registry: Registry, me: Owner, request: Request, recorded: RunRow) -> None:
    """Many wait: what is there already comes first."""
    waiting = len(registry.line().waiting)
    ahead = " The Playground trains in your browser at once, without a line." if has(PLAYGROUND) else ""
    st.markdown(
        f"{waiting} runs wait already. The recorded run **{plain(recorded.name)}** is like yours: "
        f"{plain(describe_row(recorded))}.{ahead}"
    )
    with st.container(horizontal=True):
        if st.button("Look at it now", key="train_recorded", type="primary", icon=":material/explore:"):
            _forget()
            explore(recorded.key)
        if has(PLAYGROUND) and st.button("Playground", key="train_playground", icon=":material/toys:"):
            _forget()
            go(PLAYGROUND)
        if st.button("Wait in line", key="train_wait", icon=":material/hourglass_top:"):
            ask_for(registry, me, request, again=True)


def _obstacle(mine: LiveJob | None, waiting: int) -> tuple[str, str]:
    """What stands in the way of a start, and the label of the button that starts all the same."""
    if mine is None:
        return "Nothing of yours is in its way any more.", "Start it"
    name = f"Your run **{plain(mine.folder.name)}**"
    if not mine.launched:
        return (
            f"{name} waits in line, and everybody has one place there. The new one would take it; that one has not "
            "begun, and nothing is left of it.",
            "Give its place to the new one",
        )
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
            resume(registry, me, request.folder) if request.folder else ask_for(registry, me, request)
        if st.button("Forget it", key="train_offer_forget"):
            registry.forget_offer(me, runs_root())
            st.rerun()
