"""Numbers behind curves over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from analysis.dynamics import (
    churn_over_time,
    gross_moves_over_time,
    loss_window,
    net_moves_over_time,
    trailing_mean,
    weighted_regularizer,
)
from analysis.groups import group_ranks, matrix_groups
from analysis.metrics import evaluation_series, total_rank
from analysis.order import most_moved
from analysis.payload import budget_curve
from analysis.quantities import QUANTITIES, quantity
from analysis.runs import Run
from analysis.tables.columns import as_table, by_record, matrix_columns

HIGHLIGHTED = 8


def rank_trajectories(run: Run, highlight: Sequence[str] | None = None, measure: str = "rank") -> pa.Table:
    """One row a record and matrix; ``highlighted`` are the asked ones, else those that moved most.

    Raises:
        ValueError: an unknown measure or matrix.
    """
    asked = quantity(measure)
    places = most_moved(run, HIGHLIGHTED) if highlight is None else [run.place_of(name) for name in highlight]
    count, width = len(run.steps), len(run.matrices)
    return as_table(
        {
            "step": by_record(run, run.steps),
            **matrix_columns(run.matrices, np.tile(np.arange(width), count)),
            asked.column: asked.column_of(asked.values(run, None)),
            "highlighted": np.tile(np.isin(np.arange(width), places), count),
        }
    )


def rank_share(run: Run, by: str = "type") -> pa.Table:
    """One row a record and group: its rank, its share of the total rank (null where that is 0), and the total."""
    labels, _ = matrix_groups(run, by)
    total, rank = total_rank(run), group_ranks(run, by)
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
    planned = budget_curve(run)
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


def curves(run: Run) -> pa.Table:
    """One row a step with a loss, a record or an evaluation: every curve over time; null where a step has no value.

    ``evaluated`` names what ``evaluation`` is.
    """
    scalars, found = run.log.steps, evaluation_series(run)
    split, metric, measured, results = found or ("", "", np.zeros(0, np.int64), np.zeros(0))
    steps = np.unique(np.concatenate([scalars["step"], run.steps, measured])).astype(np.int64)
    told, counted = moves(run), net_gross(run)
    of_steps = loss(run)
    own: dict[str, Any] = {"step": steps}
    names = ("task_loss", "task_loss_trailing_mean", "regularizer", "penalty")
    own |= {name: _at(steps, of_steps["step"], of_steps[name]) for name in names}
    own["evaluation"] = _at(steps, measured, results)
    known = np.isfinite(own["evaluation"]).tolist()
    own["evaluated"] = pa.array([f"{split} {metric}" if defined else None for defined in known], pa.string())
    own["budget"] = _at(steps, told["step"], told["budget"])
    own["total_rank"] = _at(steps, run.steps, total_rank(run))
    own["target_rank"] = _at(steps, scalars["step"], scalars["target_rank"])
    own |= {name: _at(steps, told["step"], told[name]) for name in ("extended", "pruned")}
    own |= {name: _at(steps, run.steps, counted[name]) for name in ("gross_moves", "net_moves", "churn")}
    return as_table(own)


def _at(steps: np.ndarray, own: Any, values: Any) -> np.ndarray:
    """Return values (n,) of their own steps (n,) at other steps, NaN where they have none."""
    found = dict(zip(np.asarray(own).tolist(), np.asarray(values, np.float64).tolist(), strict=True))
    return np.array([found.get(step, np.nan) for step in steps.tolist()], np.float64)


def compare_curves(runs: Mapping[str, Run]) -> pa.Table:
    """One row a run, curve and step: ``task_loss`` (trailing mean), ``total_rank``, ``parameters`` of the active."""
    parts = [_COMPARED.empty_table()]
    for label, run in runs.items():
        scalars = run.log.steps
        series = {
            "task_loss": (scalars["step"], trailing_mean(scalars["task_loss"], loss_window(run))),
            "total_rank": (run.steps, total_rank(run).astype(np.float64)),
            "parameters": (run.steps, QUANTITIES["parameters"].values(run, None).sum(axis=1)),
        }
        for curve, (steps, values) in series.items():
            texts = {"run": label, "method": run.header.get("method"), "curve": curve}
            own = {name: pa.array([text] * len(steps), pa.string()) for name, text in texts.items()}
            parts.append(as_table({**own, "step": steps, "value": values}))
    return pa.concat_tables(parts)


_COMPARED = pa.schema(
    {"run": pa.string(), "method": pa.string(), "curve": pa.string(), "step": pa.int64(), "value": pa.float64()}
)


def order_stability(run: Run) -> pa.Table:
    """One row a measure and pair of neighbouring events: Spearman's correlation of the order of the matrices."""
    # SciPy is needed for this one alone, and the first picture must not wait for it.
    from analysis import stability

    found = stability.order_stability(run)
    return as_table(
        {
            "step": np.concatenate([one.steps for one in found] or [np.zeros(0, np.int64)]),
            "measure": pa.array([one.measure for one in found for _ in one.steps], pa.string()),
            "spearman": np.concatenate([one.correlation for one in found] or [np.zeros(0)]),
        }
    )
