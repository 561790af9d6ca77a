"""Run a study's jobs on this machine: child processes of one torch thread each, side by side."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from flexlora.child import Child
from flexlora.errors import FlexLoRAError
from flexlora.study.gpus import VISIBLE, shared_out
from flexlora.study.outcome import Outcome
from flexlora.study.plan import Planned
from flexlora.study.progress import Progress

TRIES = 3
"""A run whose worker dies so often, of whatever cause, is given up."""
SHOWN_INTERVAL_S = 0.25

Group = Sequence[Planned]
"""Runs that one worker makes, with shared steps where they can."""


def default_jobs(runs: Sequence[Planned]) -> int:
    """Return how many runs go side by side: one a GPU, else as many as cores hold with their threads."""
    if any(run.job.loop.device != "cpu" for run in runs):
        return max(1, len(shared_out(runs)))
    with contextlib.suppress(AttributeError):
        cores = len(os.sched_getaffinity(0))
        return max(1, cores // max((run.job.loop.threads for run in runs), default=1))
    return os.cpu_count() or 1


def run_here(
    groups: Sequence[Group], root: Path, progress: Progress, stopping: threading.Event, jobs: int
) -> dict[str, Outcome]:
    """Train groups of runs in child processes, ``jobs`` at a time; of several GPUs each process sees one.

    A worker that is killed is replaced and its run gone on with. A run that is refused stops them all.

    Args:
        groups: in the order in which they start, see ``flexlora.study.herds``.
        root: folder of the run folders.
        progress: is told.
        stopping: set from outside to stop after the current steps.
        jobs: groups side by side.

    Returns:
        Name → outcome of each run that was started.

    Raises:
        FlexLoRAError: a run that cannot be made, or whose workers died too often.
    """
    pool = _Pool(groups, root, progress, stopping)
    gpus = shared_out([run for group in groups for run in group]) or [None]
    threads = [
        threading.Thread(target=pool.serve, args=(gpus[place % len(gpus)],), daemon=True)
        for place in range(min(jobs, len(groups)))
    ]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            while thread.is_alive():
                thread.join(SHOWN_INTERVAL_S)
                progress.show()
                if stopping.is_set():
                    pool.stop()
    except BaseException:
        # Aborted: a step that never ends would keep its process.
        pool.kill()
        raise
    if pool.fault is not None:
        raise FlexLoRAError(pool.fault)
    return pool.outcomes


def environment_of(gpu: str | None) -> dict[str, str]:
    """Return the environment of a worker: one thread, and one GPU where it is given one."""
    # More threads than cores make each of them slower.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    return environment if gpu is None else {**environment, VISIBLE: gpu}


class _Pool:
    def __init__(self, groups: Sequence[Group], root: Path, progress: Progress, stopping: threading.Event) -> None:
        self.outcomes: dict[str, Outcome] = {}
        self.fault: str | None = None
        self._waiting = deque(groups)
        self._root, self._progress, self._stopping = root, progress, stopping
        self._tries: dict[str, int] = {}
        self._workers: set[_Worker] = set()
        self._lock = threading.Lock()

    def serve(self, gpu: str | None) -> None:
        """Take runs until there is none, each by the same worker as long as that lives; None = it sees every GPU."""
        worker = None
        try:
            while (group := self._next()) is not None:
                if worker is None:
                    worker = _Worker(gpu)
                    with self._lock:
                        self._workers.add(worker)
                outcomes = worker.perform(group, self._root, self._progress)
                if outcomes is None:
                    told = worker.close()
                    with self._lock:
                        self._workers.discard(worker)
                    worker = None
                    self._again(group, told)
                else:
                    self._keep(group, outcomes)
        except Exception as error:
            self._fail(f"{type(error).__name__}: {error}")
        finally:
            if worker is not None:
                worker.close()

    def stop(self) -> None:
        """Let every worker end after its step."""
        with self._lock:
            for worker in self._workers:
                worker.stop()

    def kill(self) -> None:
        """End every worker at once; their logs are whole up to what they flushed."""
        with self._lock:
            for worker in self._workers:
                worker.kill()

    def _next(self) -> Group | None:
        with self._lock:
            return None if self._stopping.is_set() or not self._waiting else self._waiting.popleft()

    def _again(self, group: Group, told: str) -> None:
        """Let a group that died go on, in two halves: it may have been too large, or one of its runs is to blame."""
        first = group[0]
        with self._lock:
            if len(group) > 1:
                half = len(group) // 2
                self._waiting.extendleft([group[half:], group[:half]])
                return
            self._tries[first.name] = tried = self._tries.get(first.name, 0) + 1
            if tried < TRIES:
                self._waiting.appendleft(group)
                return
        self._fail(f"{first.variant.title}, seed {first.seed}: its process died {TRIES} times. {told}".strip())

    def _keep(self, group: Group, outcomes: Sequence[Outcome]) -> None:
        for run, outcome in zip(group, outcomes, strict=True):
            with self._lock:
                self.outcomes[run.name] = outcome
            self._progress.done(run.name, outcome)
            if outcome.state == "refused":
                self._fail(f"{run.variant.title}, seed {run.seed}: {outcome.message}")

    def _fail(self, fault: str) -> None:
        with self._lock:
            self.fault = self.fault or fault
        self._stopping.set()


class _Worker(Child):
    """The parent's end of ``flexlora.study.worker``."""

    def __init__(self, gpu: str | None = None) -> None:
        super().__init__("flexlora.study.worker", environment=environment_of(gpu))

    def perform(self, group: Group, root: Path, progress: Progress) -> list[Outcome] | None:
        """Return how the runs ended; None when the process died."""
        for run in group:
            progress.step(run.name, 0)
        self.send({"runs": [{"job": run.job.to_dict(), "folder": str(root / run.name)} for run in group]})
        for answer in self.answers():
            if "outcomes" in answer:
                return [Outcome(**outcome) for outcome in answer["outcomes"]]
            progress.step(group[answer["run"]].name, answer["step"])
        return None

    def stop(self) -> None:
        """Ask it to stop after its step."""
        self.send({"command": "stop"})
