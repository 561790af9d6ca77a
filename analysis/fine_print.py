"""The fine print of a schedule: what paper, released code and the present settings do with the same b0 and window."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from flexlora import schedules
from flexlora.config import FlexLoRAConfig
from flexlora.schedules import ADAPTIVE, POWERS, SCHEDULES, Moment, event_steps

DECIDED = "decided while training"

FORMULAS = {
    "paper": "b0 · (1 − (t − t_warmup) / (T − t_final))^e",
    "reference": "b0 · (1 − p^e)",
    "cubic": "b0 · (1 − p)^e",
    "linear": "b0 · (1 − p)",
    "cosine": "b0 · (1 + cos πp) / 2",
    "constant": "b0",
    "points": "straight lines between knots",
    ADAPTIVE: "as many pairs as stand out of the noise, at most b0",
}
"""Schedule → b(t) before it is rounded; p = share of the window that has passed, e = exponent (3 in the paper)."""


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
    window = {"warmup_steps": warmup_steps, "total_steps": total_steps, "final_steps": final_steps}
    steps = event_steps(**window, interval=interval)
    own = {"initial_budget": initial_budget, **window, "points": tuple(points), "exponent": exponent}
    budgets = [SCHEDULES[schedule](step, **own) for step in steps]
    curve = getattr(schedules, schedule)
    active = [step for step, budget in zip(steps, budgets, strict=True) if budget]
    idle = [step for step, budget in zip(steps, budgets, strict=True) if not budget]
    plain = schedule not in POWERS or exponent == 3
    end = total_steps - final_steps
    return ScheduleFacts(
        events=len(steps),
        active=len(active),
        moved=sum(budgets),
        unrounded=math.fsum(max(0.0, curve(Moment(step=step, **own))) for step in steps),
        closed_form=_closed_form(schedule, initial_budget, warmup_steps, end, interval, len(steps)) if plain else None,
        last_active=active[-1] if active else None,
        first_zero=idle[0] if idle else None,
        predicted_zero=_predicted_zero(schedule, initial_budget, warmup_steps, end) if plain else None,
    )


def _falling_cube(b0: int, h: float, K: int) -> float:
    """Σ b0 (1 - kh)³ for k = 1 … K."""
    first, second, third = K * (K + 1) / 2, K * (K + 1) * (2 * K + 1) / 6, (K * (K + 1) / 2) ** 2
    return b0 * (K - 3 * h * first + 3 * h**2 * second - h**3 * third)


_SUMS: dict[str, Callable[[int, float, int], float]] = {
    "paper": _falling_cube,
    "cubic": _falling_cube,
    "reference": lambda b0, h, K: b0 * (K - h**3 * (K * (K + 1) / 2) ** 2),
    "linear": lambda b0, h, K: b0 * (K - h * K * (K + 1) / 2),
    "constant": lambda b0, h, K: float(b0 * K),
}


def _closed_form(schedule: str, b0: int, warmup: int, end: int, interval: int, K: int) -> float | None:
    """Sum of the unrounded curve: interval over T - t_final in the paper's formula, over the window in the others."""
    if schedule not in _SUMS or not K:
        return None
    return _SUMS[schedule](b0, interval / (end if schedule == "paper" else end - warmup), K)


def _predicted_zero(schedule: str, b0: int, warmup: int, end: int) -> float | None:
    """Where the curve falls to 1/2, which Python rounds to 0."""
    if not b0:
        return None
    passed = {
        "paper": 1 - (2 * b0) ** (-1 / 3),
        "cubic": 1 - (2 * b0) ** (-1 / 3),
        "reference": max(0.0, 1 - 1 / (2 * b0)) ** (1 / 3),
        "linear": 1 - 1 / (2 * b0),
    }
    if schedule not in passed:
        return None
    return warmup + passed[schedule] * (end if schedule == "paper" else end - warmup)


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
    own = None if config.schedule == ADAPTIVE else _facts_of(config, config.schedule, config.exponent)
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
    first = {"quantity": "b(t), rounded", **{name: FORMULAS[schedule] for name, (schedule, _) in sides.items()}}
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
    warmup, _, total, final = config.window()
    end = total - final
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
