"""``make_study``: a study in a process of its own, which ends with this server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flexlora.child import Child
from flexlora.errors import FlexLoRAError
from jobs.start_up import note_start_up
from jobs.study_job import StudyJob

if TYPE_CHECKING:
    from jobs.live import LiveJob

NICENESS = 5
"""The pages come first."""


def make_study(live: LiveJob, job: StudyJob) -> None:
    """Make what is missing of a study; what is done of it is kept when it is stopped or killed.

    Raises:
        FlexLoRAError: why it cannot be made or compared, in one line.
    """
    live.began = live.clock()
    # A stop of the server reaches it by its input only, so that its runs are closed in order.
    child, last = Child("flexlora.study.served", niceness=NICENESS, own_session=True), None
    try:
        child.send({"study": job.text, "out": str(live.folder), "jobs": job.side_by_side, "allow_unequal": job.unequal})
        last = _follow(live, job, child)
    finally:
        told = child.close()
    if last is None:
        raise FlexLoRAError(f"The process of the study died. {told}".strip())
    if "error" in last:
        raise FlexLoRAError(str(last["error"]))
    if "summary" in last:
        live.runs = job.runs
        live.finished_step(job.steps)


def _follow(live: LiveJob, job: StudyJob, child: Child) -> dict[str, Any] | None:
    """Note how far it is until it ends; return its last word, None where it died without one."""
    told = False
    for answer in child.answers():
        if "what" not in answer:
            return answer
        searching = answer["what"] == "trials"
        live.runs = answer["done"] + (0 if searching else job.trials)
        if step := answer["steps"] + (0 if searching else job.trial_steps):
            if not live.moved and live.began is not None and live.request.folder is None:
                # One that is gone on with has steps from the beginning.
                note_start_up(live.clock() - live.began)
            live.finished_step(step)
        if live.controls.stopping and not told:
            told = True
            child.send({"command": "stop"})
    return None
