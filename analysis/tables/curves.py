"""Numbers behind curves over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from analysis.dynamics import (
    churn_over_time,
    gross_moves_over_time,
    net_moves_over_time,
    trailing_mean,
    weighted_regularizer,
)
from analysis.metrics import total_rank
from analysis.order import most_moved
from analysis.payload import planned_budget
from analysis.quantities import QUANTITIES, quantity
from analysis.runs import Run
from analysis.tables.columns import as_table, by_record, matrix_columns
from flexlora.matrix_names import module_type_order

HIGHLIGHTED = 8
MOST_BANDS = 12
NO_LAYER = "no layer"
SHARES_OF = ("type", "layer")


def rank_trajectories(run: Run, highlight: Sequence[str] | None = None, measure: str = "rank") -> pa.Table:
    """One row a record and matrix; ``highlighted`` are the asked ones, else those that moved most.

    Raises:
        ValueError: an unknown measure or matrix.
    """
    asked = quantity(measure)
    places = most_moved(run, HIGHLIGHTED) if highlight is None else [run.place_of(name) for name in highlight]
    count, width = len(run.steps), len(run.matrices)
    values = asked.values(run, None).ravel()
    return as_table(
        {
            "step": by_record(run, run.steps),
            **matrix_columns(run.matrices, np.tile(np.arange(width), count)),
            asked.column: values.astype(np.int64) if measure in ("rank", "change") else values,
            "highlighted": np.tile(np.isin(np.arange(width), places), count),
        }
    )


def rank_groups(run: Run, by: str = "type") -> tuple[list[str], np.ndarray]:
    """Return the labels of the groups in their order, and the group of each matrix, (M,).

    More than 12 layers are put together into bands of neighbouring layers.

    Raises:
        ValueError: neither by type nor by layer.
    """
    if by not in SHARES_OF:
        raise ValueError(f"unknown grouping {by!r}; choose one of {', '.join(SHARES_OF)}")
    if by == "type":
        labels = list(module_type_order({matrix.module_type for matrix in run.matrices}))
        return labels, np.array([labels.index(matrix.module_type) for matrix in run.matrices], np.int64)
    layers = sorted({matrix.layer for matrix in run.matrices if matrix.layer is not None})
    unplaced = any(matrix.layer is None for matrix in run.matrices)
    bands = [part.tolist() for part in np.array_split(np.array(layers), min(len(layers), MOST_BANDS - unplaced) or 1)]
    bands = [band for band in bands if band]
    labels = [f"layer {b[0]}" if len(b) == 1 else f"layers {b[0]}–{b[-1]}" for b in bands] + [NO_LAYER] * unplaced
    band_of = {layer: place for place, band in enumerate(bands) for layer in band}
    found = [len(bands) if m.layer is None else band_of[m.layer] for m in run.matrices]
    return labels, np.array(found, np.int64)


def rank_share(run: Run, by: str = "type") -> pa.Table:
    """One row a record and group: its rank, its share of the total rank (null where that is 0), and the total."""
    labels, groups = rank_groups(run, by)
    total = total_rank(run)
    rank = np.zeros((len(run.steps), len(labels)), np.int64)
    for place in range(len(labels)):
        rank[:, place] = run.ranks[:, groups == place].sum(axis=1)
    share = np.divide(rank, total[:, None], out=np.full(rank.shape, np.nan), where=total[:, None] > 0)
    return as_table(
        {
            "step": np.repeat(run.steps, len(labels)),
            "group": pa.array(labels * len(run.steps), pa.string()),
            "rank": rank.ravel(),
            "rank_share": share.ravel(),
            "total_rank": np.repeat(total, len(labels)),
        }
    )


def loss_window(run: Run) -> int:
    """Return how many steps the trailing mean of the task loss takes: a fortieth of those logged."""
    # As the player rounds: half up.
    return max(1, int(len(run.log.steps["step"]) / 40 + 0.5))


def loss(run: Run) -> pa.Table:
    """One row a training step: task loss and its trailing mean, R, γ · R, the method's penalty as weighted."""
    scalars = run.log.steps
    return as_table(
        {
            "step": scalars["step"],
            "task_loss": scalars["task_loss"],
            "task_loss_trailing_mean": trailing_mean(scalars["task_loss"], loss_window(run)),
            "regularizer": scalars["regularizer"],
            "weighted_regularizer": weighted_regularizer(run),
            "penalty": scalars["penalty"],
        }
    )


def moves(run: Run) -> pa.Table:
    """One row a step that has an event or a budget: directions extended and pruned (null without event), and b(t)."""
    budget = planned_budget(run)
    planned: dict[int, float] = {}
    if budget is not None:
        planned = dict(zip(budget["steps"], map(float, budget["values"]), strict=True))
    else:
        scalars = run.log.steps
        known = np.isfinite(scalars["budget"])
        planned = dict(zip(scalars["step"][known].tolist(), scalars["budget"][known].tolist(), strict=True))
    events = {event["step"]: event for event in run.events}
    steps = sorted({*planned, *events})
    told: dict[str, list[int | None]] = {
        key: [len(events[step][key]) if step in events else None for step in steps] for key in ("extend", "prune")
    }
    return as_table(
        {
            "step": np.array(steps, np.int64),
            "extended": pa.array(told["extend"], pa.int64()),
            "pruned": pa.array(told["prune"], pa.int64()),
            "budget": np.array([planned.get(step, np.nan) for step in steps], np.float64),
        }
    )


def net_gross(run: Run, within: int = 1) -> pa.Table:
    """One row a record, after the events before the next one: directions moved so far, net moves, churn.

    Args:
        run: a loaded run.
        within: a prune counts as churn when it removes a direction that was added in the last so many events.
    """
    if within < 1:
        raise ValueError(f"within is {within}; it counts events and is at least 1")
    return as_table(
        {
            "step": run.steps,
            "gross_moves": gross_moves_over_time(run),
            "net_moves": net_moves_over_time(run),
            "churn": churn_over_time(run, within),
        }
    )


def compare_curves(runs: Mapping[str, Run]) -> pa.Table:
    """One row a run, curve and step: ``task_loss`` (trailing mean), ``total_rank``, ``parameters`` of the active."""
    labels: list[str] = []
    methods: list[str | None] = []
    parts: dict[str, list[Any]] = {"curve": [], "step": [], "value": []}
    for label, run in runs.items():
        scalars = run.log.steps
        series = {
            "task_loss": (scalars["step"], trailing_mean(scalars["task_loss"], loss_window(run))),
            "total_rank": (run.steps, total_rank(run).astype(np.float64)),
            "parameters": (run.steps, QUANTITIES["parameters"].values(run, None).sum(axis=1)),
        }
        for curve, (steps, values) in series.items():
            labels += [label] * len(steps)
            methods += [run.header.get("method")] * len(steps)
            parts["curve"] += [curve] * len(steps)
            parts["step"].append(steps)
            parts["value"].append(values)
    return as_table(
        {
            "run": pa.array(labels, pa.string()),
            "method": pa.array(methods, pa.string()),
            "curve": pa.array(parts["curve"], pa.string()),
            "step": np.concatenate([np.zeros(0, np.int64), *parts["step"]]),
            "value": np.concatenate([np.zeros(0), *parts["value"]]),
        }
    )
