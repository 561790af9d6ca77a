"""``run_farm``: train several jobs in step, each into a run log of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from flexlora.controls import Controls
from flexlora.errors import FlexLoRAError
from flexlora.farm.farm import Farm
from flexlora.job import Job
from flexlora.loop import Run, opened_run
from flexlora.run_log import RunLogError
from flexlora.session import Session, StepResult

Ended = dict[str, Any] | FlexLoRAError | RunLogError
"""Summary of a run, as ``run_job`` returns it; or why it failed, which its log says too."""


def run_farm(
    jobs: Sequence[Job],
    folders: Sequence[Path],
    *,
    controls: Controls | None = None,
    resume: Sequence[bool] | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> list[Ended]:
    """Train jobs with shared steps; whatever else belongs to a run is done as in ``flexlora.loop.run_job``.

    A run whose training fails ends alone. Runs that go on from different steps wait for each other: the ones behind
    catch up first.

    Args:
        jobs: they differ in nothing that decides a shape.
        folders: a run folder each.
        controls: by which all are stopped; they are neither paused nor edited.
        resume: which go on from their checkpoint; None = none.
        progress: called with the place of a job and the number of its finished steps.

    Raises:
        CannotShare: the jobs cannot share their steps; no log is begun then.
    """
    lanes = len(jobs)
    controls = controls or Controls()
    sessions = [Session(job) for job in jobs]
    Farm(sessions).check()
    with ExitStack() as stack:
        runs = [
            stack.enter_context(opened_run(session.job, folder, resume=again, lanes=lanes, session=session))
            for session, folder, again in zip(sessions, folders, resume or [False] * lanes, strict=True)
        ]
        herd = _Herd(runs, progress)
        try:
            return herd.train(controls)
        except BaseException as error:
            for run in runs:
                run.failed(error)
            raise


class _Herd:
    """Runs in step, and how each ended."""

    def __init__(self, runs: Sequence[Run], progress: Callable[[int, int], object] | None) -> None:
        self._runs = list(runs)
        self._ended: dict[int, Ended] = {}
        self._progress = progress

    def train(self, controls: Controls) -> list[Ended]:
        for place in range(len(self._runs)):
            self._each(place, lambda run: run.begin())
        farm: Farm | None = None
        while going := [place for place in range(len(self._runs)) if place not in self._ended]:
            if controls.stopping or all(self._runs[place].completed for place in going):
                break
            behind = min(self._runs[place].step for place in going)
            lanes = [place for place in going if self._runs[place].step == behind]
            sessions = [self._runs[place].session for place in lanes]
            if farm is None or farm.sessions != sessions:
                farm = Farm(sessions)
            self._step(farm, lanes)
        for place in range(len(self._runs)):
            self._each(place, self._finish(place))
        return [self._ended[place] for place in range(len(self._runs))]

    def _step(self, farm: Farm, lanes: list[int]) -> None:
        began = time.perf_counter()
        step = self._runs[lanes[0]].step + 1
        results = farm.train_step(step)
        sound = [place for place, result in zip(lanes, results, strict=True) if isinstance(result, StepResult)]
        own = dict(zip(sound, farm.singular_values(), strict=True))
        step_s = (time.perf_counter() - began) / len(lanes)
        memory = self._runs[lanes[0]].session.memory_bytes()
        for place, result in zip(lanes, results, strict=True):
            if isinstance(result, StepResult):
                self._each(
                    place, lambda run, place=place, result=result: run.record(result, step_s, memory, own[place])
                )
                self._each(place, lambda run: run.between_steps())
                if self._progress is not None:
                    self._progress(place, step)
            else:
                self._lost(place, result)

    def _each(self, place: int, act: Callable[[Run], object]) -> None:
        """Do something with a run that is still going on; what fails in it ends it alone."""
        if place in self._ended:
            return
        try:
            act(self._runs[place])
        except (FlexLoRAError, RunLogError) as error:
            self._lost(place, error)

    def _lost(self, place: int, error: FlexLoRAError | RunLogError) -> None:
        self._ended[place] = error
        if isinstance(error, FlexLoRAError):
            self._runs[place].failed(error)

    def _finish(self, place: int) -> Callable[[Run], None]:
        def finish(run: Run) -> None:
            self._ended[place] = run.finish()

        return finish
