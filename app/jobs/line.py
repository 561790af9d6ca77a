"""The line of jobs on the page: who trains, who waits, when it is whose turn."""

from __future__ import annotations

import streamlit as st

from jobs.live import LiveJob
from jobs.owner import Owner
from jobs.registry import Line, Registry
from jobs.sharing import name_of
from jobs.study_job import StudyJob
from links import explore
from runs.store import plain

TICK_S = 2.0
"""An idle page learns within this time that a job has started or the line has moved."""


def line_panel(registry: Registry, me: Owner, starting: bool) -> None:
    """Draw the line and keep it up to date; the whole page runs again when the viewer's own jobs have changed."""

    def own() -> list[tuple[LiveJob, bool]]:
        return [(live, live.alive) for live in (registry.of(me), registry.waiting_of(me)) if live is not None]

    drawn = own()

    @st.fragment(run_every=TICK_S)
    def panel() -> None:
        if own() != drawn:
            st.rerun()
        line = registry.line()
        text = describe_line(line, me)
        if not text:
            # Said in the same place, so that the page stays where it is when somebody starts.
            idle = (
                "A start is on its way." if starting else "Nothing trains at this server now: a start begins at once."
            )
            st.caption(idle if line.running is None else f"Yours {_goes(line.running)}, and nobody waits.")
            return
        with st.container(horizontal=True, vertical_alignment="center", border=True, key="train_line"):
            st.markdown(f":material/hourglass_top: {text}", width="stretch")
            running = line.running
            theirs = running if running is not None and running.owner != me and running.has_log else None
            if theirs and st.button("Watch it in Explore", key="train_watch", icon=":material/visibility:"):
                explore(f"runs/{theirs.folder.name}")
            if registry.waiting_of(me) and st.button("Leave the line", key="train_leave", icon=":material/close:"):
                registry.cancel(me)
                st.rerun()

    panel()


def line_caption(registry: Registry, me: Owner) -> None:
    """Tell a viewer who waits how the line moves, and keep it true, on a page that is about something else."""
    if registry.waiting_of(me):
        st.fragment(_caption, run_every=TICK_S)(registry, me)


def _caption(registry: Registry, me: Owner) -> None:
    if registry.waiting_of(me) is None:
        # It has begun, and is a run among the others.
        st.rerun()
    st.caption(describe_line(registry.line(), me))


def describe_line(line: Line, me: Owner) -> str:
    """Return what somebody has to know of the line, as Markdown; empty when there is nothing to tell."""
    running, told = line.running, []
    mine = next((place for place, live in enumerate(line.waiting) if live.owner == me), None)
    if running is not None and running.owner != me:
        told.append(f"{whose_run(running.owner.key)} **{plain(running.folder.name)}** is {progress_text(running)}.")
    if mine is not None:
        told.append(_turn(line, mine, me))
    others = len(line.waiting) - (mine is not None)
    own = running is not None and running.owner == me
    if others and mine is None:
        waiting = "1 run waits" if others == 1 else f"{others} runs wait"
        told.append(f"{waiting} in line{' behind yours' if own else ''}.")
    if line.patience_s is not None and own:
        told.append(f"The pause makes way for them in {duration(line.patience_s)}; the run can be resumed.")
    return " ".join(told)


def whose_run(key: str | None) -> str:
    """Return how a sentence about somebody else's run begins; members of a class have names."""
    name = name_of(key)
    return "Another browser's run" if name is None else f"The run of {plain(name)}"


def progress_text(live: LiveJob) -> str:
    """Return how far a job is, in words."""
    if live.state == "loading":
        return f"loading, from step {live.step}" if live.step else "loading"
    text = f"{live.state}, step {live.step} of {live.job.steps}"
    if isinstance(live.job, StudyJob):
        text = f"{live.state}, {live.runs} of {live.job.runs} runs done"
    left = live.left_s()
    return f"{text}, about {duration(left)} left" if live.state == "training" and left is not None else text


def _goes(live: LiveJob) -> str:
    return f"is {live.state}" if live.state in ("paused", "stopping") else "trains"


def duration(seconds: float) -> str:
    """Return a time that nobody knows exactly."""
    seconds = max(seconds, 0.0)
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _turn(line: Line, place: int, me: Owner) -> str:
    live, starts = line.waiting[place], line.starts_s[place]
    name = plain(live.folder.name)
    if place == 0 and line.running is not None and line.running.owner == me:
        return f"Yours, **{name}**, starts as soon as {plain(line.running.folder.name)} has stopped."
    where = "is next" if place == 0 else f"is number {place + 1} in line"
    if starts is not None:
        when = f"starts in about {duration(starts)}"
    elif line.patience_s is not None:
        when = f"starts when that one has ended (its pause makes way in {duration(line.patience_s)})"
    else:
        when = "starts when it is its turn"
    return f"Yours, **{name}**, {where} and {when}, also when this tab is closed."
