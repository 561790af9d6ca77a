"""A job that this server has accepted: what is asked for, whose it is, how far it is."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Literal

from flexlora.controls import Controls
from flexlora.job import Job
from jobs.owner import Owner
from jobs.study_job import StudyJob

RECENT, ENOUGH, ENOUGH_S = 50, 10, 3.0
"""How many of the latest steps tell the pace; how many of them, or how many seconds, it takes to tell it at all."""

Outcome = Literal["ended", "failed", "cancelled"]


@dataclass(frozen=True)
class Request:
    """What somebody wants trained: a new run or study, or with ``folder`` one to go on with.

    ``parent`` names the run whose configuration it was edited from. ``paused``: it waits before its first step.
    ``step``: how many that one has finished, 0 where its log does not end in order.
    """

    job: Job | StudyJob
    parent: str | None = None
    paused: bool = False
    folder: Path | None = None
    step: int = field(default=0, compare=False)

    def same_as(self, other: Request) -> bool:
        """True where both ask for the same training, wherever they come from."""
        return (self.job, self.folder) == (other.job, other.folder)


@dataclass(eq=False)
class LiveJob:
    """An accepted job, from the line to its end; everything a page shows comes from the log in its folder.

    ``step`` counts finished optimizer steps, ``runs`` the runs of a study that have ended. ``error`` is why it could
    not start or go on, ``notice`` what its owner should know: from where it was resumed, why it made way for others.
    ``began``: when by its clock the process of a study was started. ``over`` is set with ``outcome``.
    """

    owner: Owner
    request: Request
    folder: Path
    clock: Callable[[], float] = time.monotonic
    controls: Controls = field(default_factory=Controls)
    step: int = 0
    runs: int = 0
    error: str | None = None
    notice: str | None = None
    made_way: bool = False
    launched: bool = False
    began: float | None = None
    outcome: Outcome | None = None
    over: threading.Event = field(default_factory=threading.Event)
    _last: float | None = field(default=None, init=False)
    _recent_s: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT), init=False)

    @property
    def job(self) -> Job | StudyJob:
        """What is trained."""
        return self.request.job

    @property
    def alive(self) -> bool:
        """True while the worker runs, paused or not."""
        return self.launched and self.outcome is None

    @property
    def has_log(self) -> bool:
        """True once there is something to look at."""
        return (self.folder / "run.json").is_file()

    @property
    def moved(self) -> bool:
        """True once a step is done here."""
        return self._last is not None

    @property
    def state(self) -> str:
        """How far it is, in the words of the page."""
        if self.outcome == "ended":
            early = "stopped, made way for others" if self.made_way else "stopped"
            return "finished" if self.step >= self.job.steps else early
        if self.outcome is not None or not self.launched:
            return self.outcome or "waiting in line"
        now = "training" if self.moved else "loading"
        return "stopping" if self.controls.stopping else "paused" if self.controls.paused else now

    def finished_step(self, step: int) -> None:
        """Note that ``step`` is done; time spent in pauses does not count."""
        trained = self.clock() - self.controls.waited_s
        made = step - self.step
        if self._last is not None and made > 0:
            # Those of a study are told several at once.
            self._recent_s.append((trained - self._last) / made)
        self._last, self.step = trained, step

    def step_s(self) -> float | None:
        """Return the median of the latest seconds a step, pauses left out; None before it is worth telling."""
        times = tuple(self._recent_s)
        return median(times) if len(times) >= ENOUGH or sum(times) >= ENOUGH_S else None

    def left_s(self, step_s: float | None = None) -> float | None:
        """Return the seconds left at its own pace, else at ``step_s`` a step; None where nobody knows: in a pause."""
        if self.controls.stopping:
            return 0.0
        if self.alive and self.controls.paused:
            return None
        pace = self.step_s() or step_s
        return None if pace is None else pace * max(self.job.steps - self.step, 0)
