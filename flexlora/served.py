"""Runs for a parent process, such as the app, one after the other: ``python -m flexlora.served``.

It reads one JSON object a line: ``{"job": ..., "folder": ..., "parent": name or null, "resume": bool, "paused": bool,
"policy": file or null}`` to train a run, then commands of ``flexlora.controls`` for that one. It writes
``{"step": n, "controls": ...}`` a few times a second and wherever the run begins or ends to wait, ``{"notice": line}``,
and last ``{"ended": n, "moved": bool}`` with the steps that are done and whether any was made now, or ``{"error": one
line, "leaves": bool}``. After what nobody foresaw it leaves: the next run begins in a new process. Else what was
imported and loaded serves the runs that follow.

The end of its input stops the run in order: it never outlives its parent by more than a step.
"""

from __future__ import annotations

import queue
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flexlora.child import Answers, listen
from flexlora.controls import Controls
from flexlora.errors import FlexLoRAError
from flexlora.job import Job
from flexlora.policies import load_policy
from flexlora.run_log import RunLogError

TOLD_INTERVAL_S = 0.1


class _Steered(Controls):
    """Controls of one run that tell the parent where it is."""

    def __init__(self, answer: Answers, *, paused: bool) -> None:
        super().__init__(paused=paused)
        self._answer, self._told = answer, 0.0
        self.step: int | None = None

    def wait(self, on_wait: Callable[[], None] | None = None) -> None:
        """Wait as ``Controls`` do; the parent learns of it."""

        def waits() -> None:
            if on_wait is not None:
                on_wait()
            self.tell()

        super().wait(waits)
        self.tell()

    def trained(self, step: int) -> None:
        """Note that a step is done; steps that follow each other quickly are told together."""
        self.step = step
        if time.monotonic() - self._told >= TOLD_INTERVAL_S:
            self.tell()

    def tell(self) -> None:
        """Tell the parent how far the run is, and whether it waits."""
        self._told = time.monotonic()
        self._answer({"step": self.step, "controls": self.now()})


def main() -> int:
    """Serve the parent until its pipe closes."""
    answer = Answers()
    requests: queue.SimpleQueue[tuple[dict[str, Any], _Steered] | None] = queue.SimpleQueue()
    steered: _Steered | None = None

    def heard(message: dict[str, Any] | None) -> None:
        nonlocal steered
        if message is None:
            if steered is not None:
                steered.send({"command": "stop"})
            requests.put(None)
        elif "job" in message:
            # What is said from here on is about this run; an order for one that has ended reaches no other.
            steered = _Steered(answer, paused=bool(message.get("paused")))
            requests.put((message, steered))
        elif steered is not None:
            steered.send(message)

    listen(heard)
    while (request := requests.get()) is not None:
        last = _train(*request, answer)
        answer(last)
        if last.get("leaves"):
            return 1
    return 0


def _train(asked: dict[str, Any], steered: _Steered, answer: Answers) -> dict[str, Any]:
    try:
        if asked.get("policy"):
            load_policy(asked["policy"])
        job = Job.from_dict(asked["job"])
        # torch costs seconds to import: only once there is something to train.
        from flexlora.loop import run_job

        summary = run_job(
            job,
            Path(asked["folder"]),
            controls=steered,
            parent=asked.get("parent"),
            resume=bool(asked.get("resume")),
            progress=lambda step, _result: steered.trained(step),
            report=lambda line: answer({"notice": line}),
        )
    except (FlexLoRAError, RunLogError) as error:
        return {"error": " ".join(str(error).split()), "leaves": False}
    except Exception as error:
        # A bug, or a machine that is out of memory.
        return {"error": f"{type(error).__name__}: {' '.join(str(error).split())}", "leaves": True}
    return {"ended": summary["steps"], "moved": steered.step is not None}


if __name__ == "__main__":
    sys.exit(main())
