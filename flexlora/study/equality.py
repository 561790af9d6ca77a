"""Equal budgets: what a study holds equal, estimated from its jobs before and measured from its logs after."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

from flexlora.job import Job
from flexlora.methods import METHODS
from flexlora.methods.configs import TargetRankConfig
from flexlora.study.plan import Plan, Planned
from flexlora.study.spec import Equal

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

_CUT_UNITS = {"directions": "final_rank", "parameters": "final_parameters"}
"""Unit of a cut → what is equal after it."""

Key = tuple[str, str, str, int]
"""Task, cell, label of the variant, seed: one run of a study."""
Spent = dict[Key, float | None]
Sides = Mapping[tuple[str, str], tuple[str, Sequence[str]]]


def expected_budget(job: Job, unit: str) -> float | None:
    """Return what a job will have spent, in a unit that is the same for jobs of one task and the same matrices.

    None where only the log can tell: where ranks follow from what is learned, or from the clock.
    """
    config: Any = job.config
    if job.loop.control == "head_only" or unit not in ("final_rank", "final_parameters", "parameter_steps"):
        return None
    if job.method == "big_then_cut" and unit == _CUT_UNITS[config.budget_unit]:
        # By parameters it is at most the price of one direction below.
        return float(config.target_rank)
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
    jobs = {(*run.variant.group, run.variant.label, run.seed): run.job for run in runs}

    def alike(own: Key, other: Key) -> bool:
        one, two = jobs[own], jobs[other]
        return one.config.target_modules == two.config.target_modules and one.loop.model == two.loop.model

    spent = {key: expected_budget(job, unit) for key, job in jobs.items()}
    return _differences(_sides(plan), spent, plan.study.equal, EXPECTED_WORDS.get(unit, ""), alike)


def measured_differences(plan: Plan, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a sentence for each variant that spent more or less than its reference, by the logs.

    Args:
        plan: says what is to be equal.
        rows: of the table and of the costs together, one a run.
    """
    return row_differences(rows, _sides(plan), plan.study.equal)


def row_differences(rows: Sequence[Mapping[str, Any]], sides: Sides, equal: Equal) -> list[str]:
    """Return a sentence for each variant of some rows that spent more or less than its reference with the same seed.

    Args:
        rows: task, cell, variant, seed, state and what was spent.
        sides: (task, cell) → the reference and all variants of that group, by label.
        equal: what is to be equal, and how nearly.
    """
    if equal.unit == "none":
        return []
    found: Spent = {}
    for row in rows:
        found[row["task"], row["cell"], row["variant"], row["seed"]] = budget_of(row, equal.unit)
    if equal.unit == "time":
        # One slow moment of the machine is no budget: the median over seeds is.
        found = _medians(found)
    return _differences(sides, found, equal, MEASURED_WORDS[equal.unit], lambda own, other: True)


def budget_of(row: Mapping[str, Any], unit: str) -> float | None:
    """Return what a run spent; None for one that did not complete, or where nothing is held equal."""
    key = {"time": "train_s", "none": None}.get(unit, unit)
    return None if key is None or row["state"] != "completed" else row[key]


def refusal(equal: Equal, differences: Sequence[str]) -> str:
    """Return the sentence with which an unequal comparison is refused."""
    told = "; ".join(differences[:TOLD])
    more = f"; and {len(differences) - TOLD} more" if len(differences) > TOLD else ""
    return f"Not an equal comparison: {told}{more}. equal: {equal.unit} allows {_share(equal.tolerance)}."


def _sides(plan: Plan) -> Sides:
    return {
        group: (plan.reference(group).label, [variant.label for variant in variants])
        for group, variants in plan.groups().items()
    }


def _medians(found: Spent) -> Spent:
    known: dict[tuple[str, str, str], list[float]] = {}
    for key, value in found.items():
        if value is not None:
            known.setdefault(key[:3], []).append(value)
    return {key: median(known[key[:3]]) if key[:3] in known else None for key in found}


def _differences(sides: Sides, spent: Spent, equal: Equal, words: str, alike: Callable[[Key, Key], bool]) -> list[str]:
    """Return the worst pair of each variant that is further from its reference than allowed."""
    sentences = []
    for group, (reference, labels) in sides.items():
        seeds = [key[3] for key in spent if key[:3] == (*group, reference)]
        for label in labels:
            worst: tuple[float, str] | None = None
            for seed in seeds:
                pair = (*group, label, seed), (*group, reference, seed)
                own, base = spent.get(pair[0]), spent[pair[1]]
                if own is None or base is None or own == base or not alike(*pair):
                    continue
                share = own / base - 1.0 if base else math.inf
                if abs(share) > equal.tolerance + 1e-9 and (worst is None or abs(share) > abs(worst[0])):
                    at = "" if equal.unit == "time" else f", seed {seed}"
                    told = f"{label} has {_number(own)} {words}, {_share(abs(share))} "
                    told += f"{'above' if share > 0 else 'below'} the {_number(base)} of {reference} "
                    worst = share, f"{told}({_place(group)}{at})"
            if worst is not None:
                sentences.append(worst[1])
    return sentences


def _place(group: tuple[str, str]) -> str:
    return " · ".join(part for part in group[::-1] if part)


def _share(value: float) -> str:
    return f"{100 * value:.3g} %"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) else f"{value:,.3g}"
