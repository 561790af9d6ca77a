"""Budget schedules: how many directions may move at most in an event, as pure functions of the step.

Steps count finished optimizer steps from 1. Every schedule is 0 outside the open window
``warmup_steps < step < total_steps - final_steps`` and never negative.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Points = Sequence[tuple[int, float]]
"""(step, budget) knots."""

FAMILIES: dict[str, Callable[[float, float], float]] = {
    "fall": lambda passed, exponent: (1 - passed) ** exponent,
    "hold": lambda passed, exponent: 1 - passed**exponent,
    "cosine": lambda passed, exponent: (1 + math.cos(math.pi * passed)) / 2,
    "constant": lambda passed, exponent: 1.0,
}
"""Shape of a curve → f(share that has passed, exponent) → share of b0; app/schedule/curve.js has the same."""


@dataclass(frozen=True)
class Schedule:
    """One schedule: call it for b(step), the most directions that may be pruned and the most that may be extended.

    Attributes:
        key: its name in settings and logs.
        formula: b(t) before it is rounded; p = share of the window that has passed, e = exponent (3 in the paper).
        description: what it does, in one line.
        family: key of ``FAMILIES``, or ``points``.
        options: which of the options that only some schedules have are its own.
        power: exponent where that is no option.
        over_end: passed is counted over T - t_final, not over the window.
        decided: b is decided while training, and the curve is only the most that it may be.
    """

    key: str
    formula: str
    description: str
    family: str
    options: tuple[str, ...] = ()
    power: float = 1.0
    over_end: bool = False
    decided: bool = False

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
        if not warmup_steps < step < total_steps - final_steps:
            return 0
        end = total_steps - final_steps
        return max(0, round(self.curve(step, initial_budget, warmup_steps, end, points, exponent)))

    def curve(self, step: int, b0: int, warmup: int, end: int, points: Points = (), exponent: float = 3.0) -> float:
        """Return b before it is rounded at a step of the window ``warmup < step < end``."""
        if self.family == "points":
            return _between(points, step) if points else b0
        passed = (step - warmup) / self.span(warmup, end)
        return b0 * FAMILIES[self.family](passed, self.exponent(exponent))

    def span(self, warmup: int, end: int) -> int:
        """Return the steps over which the curve falls to 0."""
        return end if self.over_end else end - warmup

    def exponent(self, asked: float) -> float:
        """Return the exponent in use where ``asked`` is configured."""
        return asked if "exponent" in self.options else self.power


def _between(points: Points, step: int) -> float:
    """Interpolate linearly between the knots; constant beyond the first and the last."""
    knots = sorted(points)
    if step <= knots[0][0]:
        return knots[0][1]
    for (left, low), (right, high) in itertools.pairwise(knots):
        if step <= right:
            return low + (high - low) * (step - left) / (right - left)
    return knots[-1][1]


ADAPTIVE = "adaptive"
"""The schedule that is no function of the step: ``flexlora.adaptive`` decides it while training."""

SCHEDULES: dict[str, Schedule] = {
    schedule.key: schedule
    for schedule in (
        Schedule(
            "paper",
            "b0 · (1 − (t − t_warmup) / (T − t_final))^e",
            # It would reach 0 only t_warmup steps after the window's end; rounding brings it to 0 much earlier.
            "the paper's cubic decay, which divides by T − t_final and not by the window's length",
            "fall",
            ("exponent",),
            over_end=True,
        ),
        Schedule(
            "reference", "b0 · (1 − p^e)", "the released code's scheduler: near b0 until late", "hold", ("exponent",)
        ),
        Schedule("cubic", "b0 · (1 − p)^e", "the usual cubic decay: 0 at the end of the window", "fall", ("exponent",)),
        Schedule("linear", "b0 · (1 − p)", "a straight line to 0", "fall"),
        Schedule("cosine", "b0 · (1 + cos πp) / 2", "half a wave to 0", "cosine"),
        Schedule("constant", "b0", "what the released code does unless its scheduler is switched on", "constant"),
        Schedule(
            "points", "straight lines between knots", "free knots; b0 where there are none", "points", ("points",)
        ),
    )
}
"""Schedule name → its record; f(step, initial_budget=, warmup_steps=, total_steps=, final_steps=, ...) → b(step)."""

CONFIGURABLE: dict[str, Schedule] = {
    **SCHEDULES,
    ADAPTIVE: Schedule(
        ADAPTIVE,
        "as many pairs as stand out of the noise, at most b0",
        "decided at each event from what is seen there",
        "constant",
        ("adaptive_margin", "adaptive_churn"),
        decided=True,
    ),
}
"""Every schedule that a configuration may name; that of ``adaptive`` is the most that it may decide."""

OPTIONS = tuple(dict.fromkeys(name for schedule in CONFIGURABLE.values() for name in schedule.options))
"""Options that only some schedules have."""


def event_steps(*, warmup_steps: int, interval: int, total_steps: int, final_steps: int) -> tuple[int, ...]:
    """Return the steps at which rank may move: t = warmup_steps + k · interval, k ≥ 1, t < total_steps - final_steps.

    An event happens after ``optimizer.step()`` number t; the released code has the same phase.
    """
    return tuple(range(warmup_steps + interval, total_steps - final_steps, interval))
