"""One worker: ``perform`` trains a run of a study; as a child process it takes one after the other from its parent.

``python -m flexlora.study.worker`` reads one JSON object a line: ``{"job": ..., "folder": ...}`` to train, or
``{"command": "stop"}``; it writes ``{"step": n}`` now and then and ``{"outcome": ...}`` after each run. The end of its
input stops it, so that it never outlives its parent by more than a step.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from flexlora.controls import Controls
from flexlora.errors import FlexLoRAError
from flexlora.job import Job
from flexlora.run_log import RunLogError, refuse_beside_writer
from flexlora.run_log.format import HEADER
from flexlora.study.outcome import DIVERGED, Outcome, begun, clear, find_outcome
from flexlora.study.policy_files import load_kept

TOLD_INTERVAL_S = 0.5
PATIENCE_S = 60.0
"""How long to wait for whoever still writes a run: a worker whose parent was killed stops after its step."""


def perform(
    job: Job, folder: Path, controls: Controls | None = None, told: Callable[[int], object] | None = None
) -> Outcome:
    """Train one run to its end, going on where an earlier try was killed; never raises what a person can mend.

    Args:
        job: what to train.
        folder: its run folder.
        controls: by which it is stopped.
        told: called with the number of finished steps.
    """
    try:
        load_kept(job, folder)
        return find_outcome(folder, job) or _train(job, folder, controls or Controls(), told)
    except (FlexLoRAError, RunLogError, OSError) as error:
        state = "diverged" if str(error).startswith(DIVERGED) else "refused"
        return Outcome(state, " ".join(str(error).split()))
    except Exception as error:
        # A bug, or a machine that is out of memory: one run's, so that the study says which.
        return Outcome("refused", f"{type(error).__name__}: {' '.join(str(error).split())}")


def _train(job: Job, folder: Path, controls: Controls, told: Callable[[int], object] | None) -> Outcome:
    # torch costs seconds to import: only once there is something to train.
    from flexlora.loop import run_job

    def progress(step: int, result: object) -> None:
        if told is not None:
            told(step)

    _wait_for_others(folder)
    resume = begun(folder, job)
    if not resume:
        clear(folder)
    return Outcome(run_job(job, folder, controls=controls, resume=resume, progress=progress)["state"])


def _wait_for_others(folder: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while (folder / HEADER).exists():
        try:
            return refuse_beside_writer(folder)
        except RunLogError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.2)
    return None


def main() -> int:
    """Serve the parent until its pipe closes."""
    # What a library prints must not get between the lines of the protocol.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    # Ctrl-C reaches the whole group; the parent says what to do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
    controls = Controls()
    threading.Thread(target=_listen, args=(sys.stdin, requests, controls), daemon=True).start()
    while (request := requests.get()) is not None and not controls.stopping:
        last = 0.0

        def told(step: int) -> None:
            nonlocal last
            if time.monotonic() - last > TOLD_INTERVAL_S:
                last = time.monotonic()
                _answer(answers, {"step": step})

        outcome = perform(Job.from_dict(request["job"]), Path(request["folder"]), controls, told)
        _answer(answers, {"outcome": outcome.to_dict()})
    return 0


def _listen(stream: IO[str], requests: queue.SimpleQueue[dict[str, Any] | None], controls: Controls) -> None:
    for line in stream:
        message = json.loads(line)
        if "command" in message:
            controls.send(message)
        else:
            requests.put(message)
    controls.send({"command": "stop"})
    requests.put(None)


def _answer(answers: IO[str], content: dict[str, Any]) -> None:
    try:
        answers.write(json.dumps(content) + "\n")
        answers.flush()
    except BrokenPipeError:
        # The parent is gone; its end of the other pipe stops the run.
        return


if __name__ == "__main__":
    sys.exit(main())
