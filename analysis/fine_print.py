"""The fine print of a schedule: what paper, released code and the present settings do with the same b0 and window."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from flexlora.config import FlexLoRAConfig
from flexlora.schedules import CONFIGURABLE, SCHEDULES, Schedule, event_steps

DECIDED = "decided while training"


@dataclass(frozen=True)
class ScheduleFacts:
    """What a schedule does over its events.

    Attributes:
        events: K, how many there are.
        active: how many have b > 0.
        moved: Σ b(t) over them: directions pruned, and as many extended, at most.
        unrounded: the same sum before rounding.
        closed_form: that sum by formula; None where there is none here.
        last_active: step of the last event with b > 0; None = none has.
        first_zero: step of the first event with b = 0; None = none has.
        predicted_zero: step from which the rounded curve is 0, by formula; None where there is none here.
    """

    events: int
    active: int
    moved: int
    unrounded: float
    closed_form: float | None
    last_active: int | None
    first_zero: int | None
    predicted_zero: float | None


def schedule_facts(
    schedule: str,
    *,
    initial_budget: int,
    warmup_steps: int,
    total_steps: int,
    final_steps: int,
    interval: int,
    exponent: float = 3.0,
    points: Sequence[tuple[int, float]] = (),
) -> ScheduleFacts:
    """Return what a schedule of ``SCHEDULES`` does over its events, simulated and in closed form."""
    own, b0, end = SCHEDULES[schedule], initial_budget, total_steps - final_steps
    window = {"warmup_steps": warmup_steps, "total_steps": total_steps, "final_steps": final_steps}
    knots, steps = tuple(points), event_steps(**window, interval=interval)
    budgets = [own(step, initial_budget=b0, **window, points=knots, exponent=exponent) for step in steps]
    active = [step for step, budget in zip(steps, budgets, strict=True) if budget]
    idle = [step for step, budget in zip(steps, budgets, strict=True) if not budget]
    curve = [max(0.0, own.curve(step, b0, warmup_steps, end, knots, exponent)) for step in steps]
    span, power = own.span(warmup_steps, end), own.exponent(exponent)
    closed = _SUMS.get((own.family, power))
    return ScheduleFacts(
        events=len(steps),
        active=len(active),
        moved=sum(budgets),
        unrounded=math.fsum(curve),
        closed_form=closed(b0, interval / span, len(steps)) if closed and steps else None,
        last_active=active[-1] if active else None,
        first_zero=idle[0] if idle else None,
        predicted_zero=_predicted_zero(own, power, b0, warmup_steps, span),
    )


def _falling_cube(b0: int, h: float, K: int) -> float:
    """Σ b0 (1 - kh)³ for k = 1 … K."""
    first, second, third = K * (K + 1) / 2, K * (K + 1) * (2 * K + 1) / 6, (K * (K + 1) / 2) ** 2
    return b0 * (K - 3 * h * first + 3 * h**2 * second - h**3 * third)


_SUMS: dict[tuple[str, float], Callable[[int, float, int], float]] = {
    ("fall", 3.0): _falling_cube,
    ("fall", 1.0): lambda b0, h, K: b0 * (K - h * K * (K + 1) / 2),
    ("hold", 3.0): lambda b0, h, K: b0 * (K - h**3 * (K * (K + 1) / 2) ** 2),
    ("constant", 1.0): lambda b0, h, K: float(b0 * K),
}
"""Family and exponent → f(b0, share of the curve from event to event, events) → Σ of the curve before rounding."""


def _predicted_zero(schedule: Schedule, power: float, b0: int, warmup: int, span: int) -> float | None:
    """Where the curve falls to 1/2, which Python rounds to 0."""
    if not b0 or schedule.family not in ("fall", "hold"):
        return None
    falling = schedule.family == "fall"
    return warmup + span * (1 - (2 * b0) ** (-1 / power) if falling else max(0.0, 1 - 1 / (2 * b0)) ** (1 / power))


def _facts_of(config: FlexLoRAConfig, schedule: str, exponent: float) -> ScheduleFacts:
    warmup, interval, total, final = config.window()
    return schedule_facts(
        schedule,
        initial_budget=config.initial_budget,
        warmup_steps=warmup,
        total_steps=total,
        final_steps=final,
        interval=interval,
        exponent=exponent,
        points=config.points,
    )


def _sides(config: FlexLoRAConfig) -> dict[str, tuple[str, ScheduleFacts | None]]:
    """Return column → (schedule, facts); the released code and the paper have exponent 3."""
    own = None if CONFIGURABLE[config.schedule].decided else _facts_of(config, config.schedule, config.exponent)
    return {
        "paper": ("paper", _facts_of(config, "paper", 3.0)),
        "released code, scheduler on": ("reference", _facts_of(config, "reference", 3.0)),
        "released code, as published": ("constant", _facts_of(config, "constant", 3.0)),
        "this schedule": (config.schedule, own),
    }


def fine_print(config: FlexLoRAConfig) -> list[dict[str, Any]]:
    """Return one row a quantity: ``quantity`` and a value for each side, None = has none.

    All sides have the b0, window and interval of ``config``.
    """
    sides = _sides(config)
    facts: dict[str, Callable[[ScheduleFacts], Any]] = {
        "events": lambda own: own.events,
        "events with b above 0": lambda own: own.active,
        "directions pruned, and extended": lambda own: own.moved,
        "the same before rounding": lambda own: own.unrounded,
        "the same in closed form": lambda own: own.closed_form,
        "last event with b above 0": lambda own: own.last_active,
        "first event with b = 0": lambda own: own.first_zero,
        "step from which b is 0, in closed form": lambda own: own.predicted_zero,
    }
    first = {"quantity": "b(t), rounded", **{name: CONFIGURABLE[key].formula for name, (key, _) in sides.items()}}
    rows = [
        {"quantity": told, **{name: DECIDED if own is None else read(own) for name, (_, own) in sides.items()}}
        for told, read in facts.items()
    ]
    return [first, *rows]


def describe_fine_print(config: FlexLoRAConfig) -> list[str]:
    """Return what the numbers say, in sentences."""
    sides = {name: own for name, (_, own) in _sides(config).items()}
    paper, scheduled = sides["paper"], sides["released code, scheduler on"]
    assert paper is not None and scheduled is not None
    warmup, end = config.window()[0], config.window_end
    if not config.initial_budget:
        return ["With b0 = 0 no formula moves anything."]
    after = (
        f"would reach 0 only at step {warmup + end}, {warmup} steps after" if warmup else f"reaches 0 at step {end},"
    )
    told = [f"The paper divides by T − t_final = {end}, so its curve {after} the window's end."]
    if paper.active < paper.events:
        told.append(
            f"Rounding ends it much earlier: {paper.events - paper.active} of {paper.events} events have b = 0, the "
            f"first at step {paper.first_zero}."
        )
    if paper.moved:
        published = sides["released code, as published"]
        assert published is not None
        told.append(
            f"With its scheduler on, the released code moves {scheduled.moved / paper.moved:.1f} times as many "
            f"directions as the paper's formula; as published, with it off, {published.moved / paper.moved:.1f} times."
        )
    return told
