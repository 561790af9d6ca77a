"""How moves add up over time: at each record, after the events that precede the next one."""

from __future__ import annotations

import numpy as np

from analysis.runs import Run


def ranks_after(run: Run) -> np.ndarray:
    """Return the ranks after the events of each record, (T, M) int64; the last row is ``metrics.final_ranks``."""
    ranks = run.ranks.copy()
    for event, record in zip(run.events, event_records(run).tolist(), strict=True):
        if record < 0:
            continue
        for key, change in (("prune", -1), ("extend", 1)):
            for move in event[key]:
                ranks[record, run.places[move["matrix"]]] += change
    return ranks


def event_records(run: Run) -> np.ndarray:
    """Return the record of each event, the latest at or before it, (E,) int64; −1 before the first."""
    steps = np.array([event["step"] for event in run.events], np.int64)
    return np.searchsorted(run.steps, steps, side="right") - 1


def gross_moves_over_time(run: Run) -> np.ndarray:
    """Return the directions moved so far at each record, (T,) int64; the last is ``metrics.gross_moves``."""
    pruned = _so_far(run, np.array([len(event["prune"]) for event in run.events], np.int64))
    return np.maximum(pruned, _so_far(run, np.array([len(event["extend"]) for event in run.events], np.int64)))


def net_moves_over_time(run: Run) -> np.ndarray:
    """Return the directions that stand elsewhere than at the start, (T,) float64; the last is ``metrics.net_moves``."""
    if not len(run.steps):
        return np.zeros(0)
    change = ranks_after(run) - run.ranks[0]
    return np.maximum(np.maximum(change, 0).sum(axis=1), np.maximum(-change, 0).sum(axis=1)).astype(np.float64)


def churn_over_time(run: Run, within: int = 1) -> np.ndarray:
    """Return the share of prunes so far that removed a direction added in the last ``within`` events, (T,) float64.

    NaN before the first prune; the last is ``metrics.churn``.
    """
    added: dict[tuple[str, int], int] = {}
    pruned, undone = np.zeros(len(run.events), np.int64), np.zeros(len(run.events), np.int64)
    for number, event in enumerate(run.events):
        for move in event["prune"]:
            pruned[number] += 1
            undone[number] += number - added.pop((move["matrix"], move["slot"]), -within - 1) <= within
        for move in event["extend"]:
            added[move["matrix"], move["slot"]] = number
    total, back = _so_far(run, pruned), _so_far(run, undone)
    return np.divide(back, total, out=np.full(len(total), np.nan), where=total > 0)


def weighted_regularizer(run: Run) -> np.ndarray:
    """Return γ · R of each scalar record, (n,) float64, with γ as configured and edited.

    A run that does not say its γ has what is left of the whole loss; NaN where neither is known.
    """
    scalars = run.log.steps
    weight = run.config.get("regularization_weight")
    if not isinstance(weight, int | float):
        return scalars["loss"] - scalars["task_loss"] - np.nan_to_num(scalars["penalty"])
    weights = np.full(len(scalars["step"]), float(weight))
    for note in run.notes:
        new = note.get("new") if note.get("kind") == "edited" else None
        edited = new.get("regularization_weight") if isinstance(new, dict) else None
        if isinstance(edited, int | float) and isinstance(note.get("step"), int):
            weights[scalars["step"] > note["step"]] = float(edited)
    return weights * scalars["regularizer"]


def trailing_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Return the mean of the last ``window`` values at each place; NaN where one of them is."""
    if not len(values):
        return np.zeros(0)
    known = np.isfinite(values)
    sums, counts = (np.concatenate([[0.0], np.cumsum(part)]) for part in (np.where(known, values, 0.0), known))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - window)
    full = (counts[ends] - counts[starts]) == ends - starts
    return np.where(full, (sums[ends] - sums[starts]) / (ends - starts), np.nan)


def _so_far(run: Run, counts: np.ndarray) -> np.ndarray:
    """Add up counts of the events up to each record; the last record has all of them."""
    own = np.zeros(len(run.steps), np.int64)
    if len(own):
        np.add.at(own, np.maximum(event_records(run), 0), counts)
    return np.cumsum(own)
