"""Equal budgets: what a study holds equal, estimated from its jobs before and measured from its logs after."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

from flexlora.job import Job
from flexlora.methods import METHODS
from flexlora.methods.configs import TargetRankConfig
from flexlora.study.plan import Plan, Planned, Variant

MEASURED_WORDS = {
    "final_rank": "total rank in the end",
    "final_parameters": "active parameters in the end",
    "parameter_steps": "parameters × steps",
    "time": "seconds of training",
}
EXPECTED_WORDS = {
    "final_rank": "directions a matrix in the end",
    "final_parameters": "directions a matrix in the end",
    "parameter_steps": "directions a matrix × steps",
}
TOLD = 4
"""Variants that a sentence names before it counts the rest."""

Budget = Callable[[Planned], float | None]


def expected_budget(job: Job, unit: str) -> float | None:
    """Return what a job will have spent, in a unit that is the same for jobs of one task and the same matrices.

    None where only the log can tell: where ranks follow from what is learned, or from the clock.
    """
    config: Any = job.config
    if job.loop.control == "head_only" or unit not in ("final_rank", "final_parameters", "parameter_steps"):
        return None
    moves = METHODS[job.method].direction != "neither" and getattr(config, "initial_budget", None) != 0
    if unit != "final_rank":
        # A direction costs as many parameters as its matrix is wide: where rank moves, the log must tell.
        return None if moves else float(config.initial_rank * (job.steps if unit == "parameter_steps" else 1))
    if isinstance(config, TargetRankConfig):
        return float(config.target_rank)
    pairs = job.method == "elalora" or (
        job.method == "flexlora" and config.direction == "both" and config.plan == "disjoint"
    )
    return float(config.initial_rank) if pairs or not moves else None


def expected_differences(plan: Plan, runs: Sequence[Planned]) -> list[str]:
    """Return a sentence for each variant whose budget will differ, as far as its job tells."""
    unit = plan.study.equal.unit

    def budget(run: Planned) -> float | None:
        return expected_budget(run.job, unit)

    def alike(run: Planned, reference: Planned) -> bool:
        own, other = run.job, reference.job
        return own.config.target_modules == other.config.target_modules and own.loop.model == other.loop.model

    return _differences(plan, runs, budget, alike, EXPECTED_WORDS.get(unit, ""))


def measured_differences(plan: Plan, runs: Sequence[Planned], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a sentence for each variant that spent more or less than its reference, by the logs.

    Args:
        plan: says what is to be equal.
        runs: as planned.
        rows: of the table and of the costs together, one a run.
    """
    if plan.study.equal.unit == "none":
        return []
    found = {run.name: budget_of(row, plan.study.equal.unit) for run, row in zip(runs, rows, strict=True)}
    if plan.study.equal.unit == "time":
        # One slow moment of the machine is no budget: the median over seeds is.
        found = _medians(runs, found)
    words = MEASURED_WORDS[plan.study.equal.unit]
    return _differences(plan, runs, lambda run: found[run.name], lambda run, reference: True, words)


def budget_of(row: Mapping[str, Any], unit: str) -> float | None:
    """Return what a run spent; None for one that did not complete, or where nothing is held equal."""
    key = {"time": "train_s", "none": None}.get(unit, unit)
    return None if key is None or row["state"] != "completed" else row[key]


def refusal(plan: Plan, differences: Sequence[str]) -> str:
    """Return the sentence with which an unequal comparison is refused."""
    equal = plan.study.equal
    told = "; ".join(differences[:TOLD])
    more = f"; and {len(differences) - TOLD} more" if len(differences) > TOLD else ""
    return f"Not an equal comparison: {told}{more}. equal: {equal.unit} allows {_share(equal.tolerance)}."


def _medians(runs: Sequence[Planned], found: Mapping[str, float | None]) -> dict[str, float | None]:
    known: dict[Variant | int, list[float]] = {}
    for run in runs:
        value = found[run.name]
        if value is not None:
            known.setdefault(id(run.variant), []).append(value)
    return {run.name: median(known[id(run.variant)]) if id(run.variant) in known else None for run in runs}


def _differences(
    plan: Plan, runs: Sequence[Planned], budget: Budget, alike: Callable[[Planned, Planned], bool], words: str
) -> list[str]:
    """Return the worst pair of each variant that is further from its reference than allowed."""
    unit, tolerance = plan.study.equal.unit, plan.study.equal.tolerance
    places = {(id(run.variant), run.seed): run for run in runs}
    sentences = []
    for group, variants in plan.groups().items():
        reference = plan.reference(group)
        for variant in variants:
            worst: tuple[float, str] | None = None
            for seed in plan.study.seeds:
                run, other = places[id(variant), seed], places[id(reference), seed]
                own, base = budget(run), budget(other)
                if own is None or base is None or own == base or not alike(run, other):
                    continue
                share = own / base - 1.0 if base else math.inf
                if abs(share) > tolerance + 1e-9 and (worst is None or abs(share) > abs(worst[0])):
                    at = "" if unit == "time" else f", seed {seed}"
                    told = f"{variant.label} has {_number(own)} {words}, {_share(abs(share))} "
                    told += f"{'above' if share > 0 else 'below'} the {_number(base)} of {reference.label} "
                    worst = share, f"{told}({_place(variant)}{at})"
            if worst is not None:
                sentences.append(worst[1])
    return sentences


def _place(variant: Variant) -> str:
    return " · ".join(part for part in (variant.cell, variant.task.name) if part)


def _share(value: float) -> str:
    return f"{100 * value:.3g} %"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) else f"{value:,.3g}"
