"""Budget schedules: how many directions may move at most in an event, as pure functions of the step.

Steps count finished optimizer steps from 1. Every schedule is 0 outside the open window
``warmup_steps < step < total_steps - final_steps`` and never negative.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

Points = Sequence[tuple[int, float]]
"""(step, budget) knots."""


@dataclass(frozen=True)
class Moment:
    """A step inside the window, with the settings: t, b0, t_warmup, T, t_final, the knots and the exponent."""

    step: int
    initial_budget: int
    warmup_steps: int
    total_steps: int
    final_steps: int
    points: Points
    exponent: float

    @property
    def progress(self) -> float:
        """Share p of the window that has passed, in (0, 1)."""
        return (self.step - self.warmup_steps) / (self.total_steps - self.final_steps - self.warmup_steps)


def paper(at: Moment) -> float:
    """Return ``b0 · (1 - (t - t_warmup) / (T - t_final))³``, the paper's cubic decay, or another power of it.

    The denominator is T - t_final and not the length of the window, so the curve would reach 0 only t_warmup steps
    after the window's end; rounding brings it to 0 much earlier.
    """
    passed = (at.step - at.warmup_steps) / (at.total_steps - at.final_steps)
    return at.initial_budget * (1 - passed) ** at.exponent


def reference(at: Moment) -> float:
    """Return ``b0 · (1 - p³)``, the scheduler in the released code: near b0 until late; p to the exponent."""
    return at.initial_budget * (1 - at.progress**at.exponent)


def cubic(at: Moment) -> float:
    """Return ``b0 · (1 - p)³``, or another power: the usual cubic decay, which reaches 0 at the window's end."""
    return at.initial_budget * (1 - at.progress) ** at.exponent


def linear(at: Moment) -> float:
    """Return ``b0 · (1 - p)``."""
    return at.initial_budget * (1 - at.progress)


def cosine(at: Moment) -> float:
    """Return ``b0 · (1 + cos πp) / 2``."""
    return at.initial_budget * (1 + math.cos(math.pi * at.progress)) / 2


def constant(at: Moment) -> float:
    """Return b0: what the released code does unless its scheduler is switched on."""
    return at.initial_budget


def points(at: Moment) -> float:
    """Return the linear interpolation between the knots, constant beyond the first and last; b0 without knots."""
    knots = sorted(at.points)
    if not knots:
        return at.initial_budget
    if at.step <= knots[0][0]:
        return knots[0][1]
    for (left, low), (right, high) in itertools.pairwise(knots):
        if at.step <= right:
            return low + (high - low) * (at.step - left) / (right - left)
    return knots[-1][1]


class Schedule(Protocol):
    """f(step, settings) → b(step), the most directions that may be pruned and the most that may be extended."""

    def __call__(
        self,
        step: int,
        *,
        initial_budget: int,
        warmup_steps: int,
        total_steps: int,
        final_steps: int,
        points: Points = (),
        exponent: float = 3.0,
    ) -> int:
        """Return b(step), rounded as Python rounds (a half goes to the even neighbour)."""
        ...


def _schedule(curve: Callable[[Moment], float]) -> Schedule:
    def schedule(
        step: int,
        *,
        initial_budget: int,
        warmup_steps: int,
        total_steps: int,
        final_steps: int,
        points: Points = (),
        exponent: float = 3.0,
    ) -> int:
        if not warmup_steps < step < total_steps - final_steps:
            return 0
        at = Moment(step, initial_budget, warmup_steps, total_steps, final_steps, points, exponent)
        return max(0, round(curve(at)))

    schedule.__doc__ = curve.__doc__
    return schedule


SCHEDULES: dict[str, Schedule] = {
    "paper": _schedule(paper),
    "reference": _schedule(reference),
    "cubic": _schedule(cubic),
    "linear": _schedule(linear),
    "cosine": _schedule(cosine),
    "constant": _schedule(constant),
    "points": _schedule(points),
}
"""Schedule name → f(step, initial_budget=, warmup_steps=, total_steps=, final_steps=, ...) → b(step)."""

ADAPTIVE = "adaptive"
"""The schedule that is no function of the step: ``flexlora.adaptive`` decides it while training."""

POWERS = ("paper", "reference", "cubic")
"""Schedules that have an exponent."""


def event_steps(*, warmup_steps: int, interval: int, total_steps: int, final_steps: int) -> tuple[int, ...]:
    """Return the steps at which rank may move: t = warmup_steps + k · interval, k ≥ 1, t < total_steps - final_steps.

    An event happens after ``optimizer.step()`` number t; the released code has the same phase.
    """
    return tuple(range(warmup_steps + interval, total_steps - final_steps, interval))
