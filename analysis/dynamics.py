"""How moves add up: after each event, and at each record after the events that precede the next one."""

from __future__ import annotations

import numpy as np

from analysis.runs import Run


def gross_after_events(run: Run) -> np.ndarray:
    """Return how many directions were pruned or extended up to each event, (E,) int64: a pair counts once."""
    halves = [np.cumsum([len(event[key]) for event in run.events], dtype=np.int64) for key in ("prune", "extend")]
    return np.maximum(*halves)


def net_after_events(run: Run) -> np.ndarray:
    """Return how many directions stand elsewhere than at the start after each event, (E,) int64: a pair counts once."""
    net = np.zeros(len(run.events), np.int64)
    latest, ranks = -1, np.zeros(0)
    for number, record in enumerate(_event_records(run)):
        if record < 0:
            continue
        if record != latest:
            latest, ranks = record, run.ranks[record] - run.ranks[0]
        for key, change in (("prune", -1), ("extend", 1)):
            for move in run.events[number][key]:
                ranks[run.places[move["matrix"]]] += change
        net[number] = _displaced(ranks[None])[0]
    return net


def churn_after_events(run: Run, within: int = 1) -> np.ndarray:
    """Return the share of prunes so far that removed a direction added in the last ``within`` events, (E,) float64.

    NaN before the first prune.
    """
    added: dict[tuple[str, int], int] = {}
    pruned, undone = np.zeros((2, len(run.events)), np.int64)
    for number, event in enumerate(run.events):
        for move in event["prune"]:
            pruned[number] += 1
            undone[number] += number - added.pop((move["matrix"], move.get("slot")), -within - 1) <= within
        for move in event["extend"]:
            added[move["matrix"], move.get("slot")] = number
    total = np.cumsum(pruned)
    return np.divide(np.cumsum(undone), total, out=np.full(len(total), np.nan), where=total > 0)


def gross_moves_over_time(run: Run) -> np.ndarray:
    """Return the directions moved so far at each record, (T,) int64."""
    return _at_records(run, gross_after_events(run), 0)


def net_moves_over_time(run: Run) -> np.ndarray:
    """Return the directions that stand elsewhere than at the start at each record, (T,) int64.

    Ranks tell where no event does, as in an imported log.
    """
    if run.events:
        return _at_records(run, net_after_events(run), 0)
    return _displaced(run.ranks - run.ranks[:1])


def churn_over_time(run: Run, within: int = 1) -> np.ndarray:
    """Return ``churn_after_events`` at each record, (T,) float64."""
    return _at_records(run, churn_after_events(run, within), np.nan)


def _event_records(run: Run) -> list[int]:
    """Return the record of each event, the latest at or before it; −1 before the first."""
    return (np.searchsorted(run.steps, [event["step"] for event in run.events], side="right") - 1).tolist()


def _displaced(change: np.ndarray) -> np.ndarray:
    """Return gains or losses (n, M), whichever add up to more, (n,)."""
    return np.maximum(np.maximum(change, 0).sum(axis=1), np.maximum(-change, 0).sum(axis=1))


def _at_records(run: Run, after_events: np.ndarray, before: float) -> np.ndarray:
    """Return the value after the last event before the next record, (T,); all events precede what follows the last."""
    ends = np.append(run.steps[1:], np.iinfo(np.int64).max)[: len(run.steps)]
    latest = np.searchsorted([event["step"] for event in run.events], ends, side="left")
    return np.concatenate([np.array([before], after_events.dtype), after_events])[latest]


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


def loss_window(run: Run) -> int:
    """Return how many steps the trailing mean of the task loss takes: a fortieth of those that the run will log.

    It stays while a run grows, so that what was drawn stays.
    """
    steps = run.log.steps["step"]
    apart = max(1, int(steps[1] - steps[0])) if len(steps) > 1 else 1
    return max(1, round(run.total_steps / apart / 40))


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
