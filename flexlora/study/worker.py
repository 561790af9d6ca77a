"""One worker: ``perform`` trains runs of a study; as a child process it takes group after group from its parent.

``python -m flexlora.study.worker`` reads one JSON object a line: ``{"runs": [{"job": ..., "folder": ...}, ...]}`` to
train, or ``{"command": "stop"}``; it writes ``{"run": place, "step": n}`` now and then and ``{"outcomes": [...]}``
after each group. The end of its input stops it: it outlives its parent by a step, and by no more than a minute.
"""

from __future__ import annotations

import queue
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from flexlora.child import PATIENCE_S, Answers, listen
from flexlora.controls import Controls
from flexlora.errors import FlexLoRAError
from flexlora.job import Job
from flexlora.run_log import RunLogError, refuse_beside_writer
from flexlora.run_log.format import HEADER
from flexlora.study.outcome import DIVERGED, Outcome, begun, clear, find_outcome
from flexlora.study.policy_files import load_kept

TOLD_INTERVAL_S = 0.5

Told = Callable[[int, int], object]
"""Called with the place of a run and the number of its finished steps."""


def perform(
    jobs: Sequence[Job], folders: Sequence[Path], controls: Controls | None = None, told: Told | None = None
) -> list[Outcome]:
    """Train runs to their end, going on where an earlier try was killed; never raises what a person can mend.

    Several runs share their steps where they can, see ``flexlora.farm``; else one follows the other.

    Args:
        jobs: what to train.
        folders: a run folder each.
        controls: by which they are stopped.
        told: is told how far a run is.
    """
    controls = controls or Controls()
    found: dict[int, Outcome] = {}
    for place, (job, folder) in enumerate(zip(jobs, folders, strict=True)):
        _note(found, place, lambda job=job, folder=folder: _known(job, folder))
    missing = [place for place in range(len(jobs)) if place not in found]
    if len(missing) > 1:
        found |= _together({place: (jobs[place], folders[place]) for place in missing}, controls, told)
    for place in missing:
        if place not in found:
            _note(
                found,
                place,
                lambda place=place: _train(jobs[place], folders[place], controls, told and partial(told, place)),
            )
    return [found[place] for place in range(len(jobs))]


def _known(job: Job, folder: Path) -> Outcome | None:
    load_kept(job, folder)
    return find_outcome(folder, job)


def _note(found: dict[int, Outcome], place: int, act: Callable[[], Outcome | None]) -> None:
    try:
        outcome = act()
    except (FlexLoRAError, RunLogError, OSError) as error:
        outcome = _failed(error)
    except Exception as error:
        # A bug, or a machine that is out of memory: one run's, so that the study says which.
        outcome = Outcome("refused", f"{type(error).__name__}: {' '.join(str(error).split())}")
    if outcome is not None:
        found[place] = outcome


def _failed(error: Exception) -> Outcome:
    state = "diverged" if str(error).startswith(DIVERGED) else "refused"
    return Outcome(state, " ".join(str(error).split()))


def _together(runs: Mapping[int, tuple[Job, Path]], controls: Controls, told: Told | None) -> dict[int, Outcome]:
    """Train runs with shared steps; return how they ended, nothing of those that must be trained alone."""
    import torch

    from flexlora.farm import CannotShare, run_farm

    places, jobs = list(runs), [job for job, _ in runs.values()]
    folders = [folder for _, folder in runs.values()]
    try:
        again = [_ready(job, folder) for job, folder in runs.values()]
        ended = run_farm(
            jobs,
            folders,
            controls=controls,
            resume=again,
            progress=told and (lambda own, step: told(places[own], step)),
        )
    except torch.OutOfMemoryError:
        half = len(places) // 2
        if half < 2:
            return {}
        parts = [{place: runs[place] for place in own} for own in (places[:half], places[half:])]
        return _together(parts[0], controls, told) | _together(parts[1], controls, told)
    except CannotShare:
        return {}
    except Exception as error:
        # Alone, the one that is at fault says what is wrong with it; were it the farm, nobody else would tell.
        sys.stderr.write(f"not trained together: {type(error).__name__}: {' '.join(str(error).split())}\n")
        return {}
    return {
        place: _failed(found) if isinstance(found, Exception) else Outcome(found["state"])
        for place, found in zip(places, ended, strict=True)
    }


def _train(job: Job, folder: Path, controls: Controls, told: Callable[[int], object] | None) -> Outcome:
    # torch costs seconds to import: only once there is something to train.
    from flexlora.loop import run_job

    def progress(step: int, result: object) -> None:
        if told is not None:
            told(step)

    resume = _ready(job, folder)
    return Outcome(run_job(job, folder, controls=controls, resume=resume, progress=progress)["state"])


def _ready(job: Job, folder: Path) -> bool:
    """Wait for whoever still writes the run; True when it goes on, else nothing of it is left."""
    _wait_for_others(folder)
    resume = begun(folder, job)
    if not resume:
        clear(folder)
    return resume


def _wait_for_others(folder: Path) -> None:
    # A worker whose parent was killed stops after its step.
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
    answer = Answers()
    requests: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
    controls = Controls()

    def heard(message: dict[str, Any] | None) -> None:
        if message is None:
            controls.send({"command": "stop"})
            requests.put(None)
        elif "command" in message:
            controls.send(message)
        else:
            requests.put(message)

    listen(heard)
    while (request := requests.get()) is not None and not controls.stopping:
        last, shown = 0.0, -1

        def told(place: int, step: int) -> None:
            nonlocal last, shown
            # Those that share their steps are told together.
            if step == shown or time.monotonic() - last > TOLD_INTERVAL_S:
                last, shown = time.monotonic(), step
                answer({"run": place, "step": step})

        jobs = [Job.from_dict(run["job"]) for run in request["runs"]]
        outcomes = perform(jobs, [Path(run["folder"]) for run in request["runs"]], controls, told)
        answer({"outcomes": [outcome.to_dict() for outcome in outcomes]})
    return 0


if __name__ == "__main__":
    sys.exit(main())
