"""``pareto_points``: what each variant reaches against what it costs, and where the front is told apart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from analysis.statistics import Comparison, compare_pairs, holm, interval, verdict
from analysis.study.compare import StudyTable, metric_column


class Cost(NamedTuple):
    """What may be paid: the name of its axis, and the unit it is drawn in."""

    label: str
    unit: float


COSTS: dict[str, Cost] = {
    "parameter_steps": Cost("parameters × steps, millions", 1e6),
    "final_parameters": Cost("active parameters in the end", 1.0),
    "final_rank": Cost("total rank in the end", 1.0),
    "train_s": Cost("seconds of training", 1.0),
    "peak_memory_bytes": Cost("peak memory, MB", 1e6),
}
"""Column of the table, or of the costs beside it → what it is. What the clock says differs from machine to machine."""
STANDINGS = ("on the front", "not told apart", "surely behind", "surely cheapest")


@dataclass(frozen=True)
class Point:
    """One variant.

    Attributes:
        task: its task.
        cell: its cell.
        variant: its label.
        method: key of its method.
        metric: column that is compared.
        cost: key of ``COSTS``.
        n: runs with both numbers.
        x: mean cost, in the column's unit.
        x_ends: 95 % interval of the mean; NaN for n < 2.
        y: mean of the metric.
        y_ends: 95 % interval of the mean.
        standing: ``on the front``: better than every variant that is not surely dearer, of which there is one at least;
            ``surely cheapest``: every other is surely dearer, so that nothing was to be told apart; ``surely behind``:
            one that is not surely dearer is better; else ``not told apart``. Better means by the paired test with Holm
            over all pairs of the cell, and by the interval; surely dearer, that the interval of the paired costs lies
            above 0.
    """

    task: str
    cell: str
    variant: str
    method: str
    metric: str
    cost: str
    n: int
    x: float
    x_ends: tuple[float, float]
    y: float
    y_ends: tuple[float, float]
    standing: str


def pareto_points(study: StudyTable, cost: str = "parameter_steps", *, seed: int = 0) -> list[Point]:
    """Return a point for each variant whose cost is known, group by group.

    Raises:
        ValueError: an unknown cost.
        FlexLoRAError: the metric is in no column.
    """
    if cost not in COSTS:
        raise ValueError(f"unknown cost {cost!r}; choose one of {', '.join(COSTS)}")
    paid = {row["run"]: row for row in study.costs}
    found = []
    for group in study.summary["groups"]:
        rows = [row for row in study.rows if (row["task"], row["cell"]) == (group["task"], group["cell"])]
        metric = metric_column(rows, group["metric"])
        values: dict[str, dict[int, tuple[float, float]]] = {label: {} for label in group["variants"]}
        methods: dict[str, str] = {}
        for row in rows:
            methods[row["variant"]] = str(row.get("method") or "")
            spent = _number({**paid.get(row["run"], {}), **row}.get(cost))
            if row["variant"] in values and spent is not None and row[metric] is not None:
                values[row["variant"]][row["seed"]] = (spent, float(row[metric]))
        values = {label: own for label, own in values.items() if own}
        standings = standings_of(values, lower_is_better=group["lower_is_better"], seed=seed)
        for label, own in values.items():
            x, y = np.array(list(own.values())).T
            place = group["task"], group["cell"], label, methods[label], metric, cost, len(own)
            ends = interval(x, seed=seed), interval(y, seed=seed)
            found.append(Point(*place, float(x.mean()), ends[0], float(y.mean()), ends[1], standings[label]))
    return found


def standings_of(
    values: Mapping[str, Mapping[int, tuple[float, float]]], *, lower_is_better: bool = False, seed: int = 0
) -> dict[str, str]:
    """Return the standing of each variant; see ``Point``.

    Args:
        values: label → seed → (cost, metric).
        lower_is_better: True for a loss.
        seed: of the resampling.
    """
    labels = list(values)
    gains, costs = {}, {}
    for one, other in combinations(labels, 2):
        shared = [key for key in values[one] if key in values[other]]
        if shared:
            apart = np.array([np.subtract(values[one][key], values[other][key]) for key in shared])
            gains[one, other] = compare_pairs(-apart[:, 1] if lower_is_better else apart[:, 1], seed=seed)
            costs[one, other] = compare_pairs(apart[:, 0], seed=seed)
    adjusted = holm({f"{pair}": found.p for pair, found in gains.items()})
    better: set[tuple[str, str]] = set()
    dearer: set[tuple[str, str]] = set()
    for pair, found in gains.items():
        told = verdict(found, adjusted[f"{pair}"])
        if told in ("better", "worse"):
            better.add(pair if told == "better" else pair[::-1])
        if _above_zero(costs[pair]):
            dearer.add(pair)
        elif _above_zero(_negative(costs[pair])):
            dearer.add(pair[::-1])
    return {label: _standing(label, labels, better, dearer) for label in labels}


def _standing(label: str, labels: Sequence[str], better: set[tuple[str, str]], dearer: set[tuple[str, str]]) -> str:
    rivals = [other for other in labels if other != label and (other, label) not in dearer]
    if not rivals:
        # Said of one among several only: alone, a variant is not the cheapest of anything.
        return STANDINGS[3] if len(labels) > 1 else STANDINGS[1]
    if any((other, label) in better for other in rivals):
        return STANDINGS[2]
    return STANDINGS[0] if all((label, other) in better for other in rivals) else STANDINGS[1]


def _above_zero(found: Comparison) -> bool:
    # One pair has no interval: a cost that follows from the settings alone would need none, a measured one would.
    return found.low > 0


def _negative(found: Comparison) -> Comparison:
    return Comparison(found.n, -found.mean, -found.high, -found.low, found.p, found.detectable)


def _number(value: Any) -> float | None:
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None
