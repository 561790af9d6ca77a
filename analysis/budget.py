"""``planned_budget``: b(t) of a run as recorded and as planned."""

from __future__ import annotations

import numpy as np

from analysis.run_config import config_at
from analysis.runs import Run
from flexlora.errors import FlexLoRAError

MAX_CURVE = 20_000
"""Points of b(t) that are sent at most, events aside."""
MAX_PLANNED = 1_000_000
"""Steps of the longest run whose plan is drawn: a forged number must not fill the memory."""


def planned_budget(run: Run) -> dict[str, list[int]] | None:
    """Return b(t) of the run's steps: as recorded, then as the schedule in force plans it.

    A run of more than ``MAX_CURVE`` steps has an even selection of them, and every event.

    None when the method has no budget of moves, the header's configuration is not one that this version can evaluate,
    or the run is absurdly long.
    """
    if run.total_steps > MAX_PLANNED:
        return None
    try:
        budget = getattr(config_at(run), "budget", None)
        if budget is None:
            return None
        steps = _curve_steps(run)
        planned = {step: budget(step) for step in steps}
    except (FlexLoRAError, TypeError, KeyError):
        return None
    scalars = run.log.steps
    recorded = zip(scalars["step"].tolist(), scalars["budget"].tolist(), strict=True)
    planned |= {step: int(budget) for step, budget in recorded if step in planned and np.isfinite(budget)}
    return {"steps": steps, "values": list(planned.values())}


def budget_curve(run: Run) -> dict[int, float]:
    """Return step → b as ``planned_budget`` has it, else as recorded; empty for a method without a budget of moves."""
    plan = planned_budget(run)
    if plan is not None:
        return dict(zip(plan["steps"], map(float, plan["values"]), strict=True))
    scalars = run.log.steps
    known = np.isfinite(scalars["budget"])
    return dict(zip(scalars["step"][known].tolist(), scalars["budget"][known].tolist(), strict=True))


def _curve_steps(run: Run) -> list[int]:
    total = run.total_steps
    if total <= MAX_CURVE:
        return list(range(1, total + 1))
    events = [event["step"] for event in run.events if 1 <= event["step"] <= total]
    return sorted({*np.linspace(1, total, MAX_CURVE).astype(int).tolist(), *events})
