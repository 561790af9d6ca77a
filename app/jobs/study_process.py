"""``make_study``: a study in a process of its own, which ends with this server."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from typing import IO, TYPE_CHECKING, Any

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
    asked = {
        "study": job.text, "out": str(live.folder), "jobs": job.side_by_side, "allow_unequal": job.unequal,
        "niceness": NICENESS,
    }  # fmt: skip
    live.began = live.clock()
    with tempfile.TemporaryFile() as errors, _started(errors) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            _send(process.stdin, asked)
            last = _follow(live, job, process.stdin, process.stdout)
        finally:
            with contextlib.suppress(OSError):
                process.stdin.close()
            process.wait()
        if last is None:
            errors.seek(0)
            lines = errors.read().decode("utf-8", "replace").strip().splitlines()
            raise FlexLoRAError(f"The process of the study died. {lines[-1] if lines else ''}".strip())
    if "error" in last:
        raise FlexLoRAError(str(last["error"]))
    if "summary" in last:
        live.runs = job.runs
        live.finished_step(job.steps)


def _started(errors: IO[bytes]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "flexlora.study.served"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        encoding="utf-8",
        # A stop of the server reaches it by its input only, so that its runs are closed in order.
        start_new_session=True,
    )


def _follow(live: LiveJob, job: StudyJob, to: IO[str], answers: IO[str]) -> dict[str, Any] | None:
    """Note how far it is until it ends; return its last word, None where it died without one."""
    told = False
    for line in answers:
        try:
            answer: dict[str, Any] = json.loads(line)
        except ValueError:
            # Cut short as the process died.
            return None
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
            _send(to, {"command": "stop"})
    return None


def _send(to: IO[str], message: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):
        to.write(json.dumps(message) + "\n")
        to.flush()
