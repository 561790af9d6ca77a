"""One event in stages: what each matrix scored, its place in the order, its rank after each half."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from analysis.metrics import instructive_event
from analysis.quantities import record_of
from analysis.runs import Run, exact_event, move_counts

STAGES = ("score", "order", "prune", "extend", "resume")
MOST_EVENTS = 9
"""Maps side by side; more are too small to read."""


class Stages(NamedTuple):
    """An event, each array (M,) float64 with NaN for undefined.

    Attributes:
        step: of the event.
        measure: the importance that decided.
        score: what was compared: the measure, or what a rule put in its place (inf = above all). Where directions are
            scored, the mean over the matrix's directions.
        order: place of the score, 1 = lowest, equal scores share the lower place. Where directions are scored, how
            many of the matrix's stand above the threshold.
        by_direction: True where single directions are scored.
        rank: before the event.
        pruned: directions pruned.
        extended: directions extended.
    """

    step: int
    measure: str
    score: np.ndarray
    order: np.ndarray
    by_direction: bool
    rank: np.ndarray
    pruned: np.ndarray
    extended: np.ndarray


def event_at(run: Run, step: int | None) -> dict[str, Any] | None:
    """Return the event at a step, or the parked one for None; None when nothing was ever moved.

    Raises:
        ValueError: there is no event at this step; the message names the nearest.
    """
    if step is None:
        step = instructive_event(run)
        if step is None:
            return None
    if (event := exact_event(run, step)) is not None:
        return event
    wanted = step
    near = sorted(run.events, key=lambda event: abs(event["step"] - wanted))[:3]
    told = f"the nearest are at {', '.join(str(event['step']) for event in near)}" if near else "this run has no events"
    raise ValueError(f"no event at step {step}; {told}")


def chosen_events(run: Run, count: int = 6) -> list[int]:
    """Return the steps of up to ``count`` events that moved something, evenly spread, the first and last among them.

    Raises:
        ValueError: a count outside 1 to 9.
    """
    if not 1 <= count <= MOST_EVENTS:
        raise ValueError(f"count is {count}; choose 1 to {MOST_EVENTS}: more maps are too small to read")
    moved = [int(event["step"]) for event in run.events if event["prune"] or event["extend"]]
    places = np.unique(np.linspace(0, max(0, len(moved) - 1), min(count, len(moved))).round().astype(np.int64))
    return [moved[place] for place in places.tolist()]


def stages_of(run: Run, step: int | None = None) -> Stages | None:
    """Return the stages of the event at a step (None: the parked one); None for a run without one.

    Raises:
        ValueError: there is no event at this step.
    """
    event = event_at(run, step)
    return None if event is None or not len(run.steps) else event_stages(run, event)


def event_stages(run: Run, event: Mapping[str, Any]) -> Stages:
    """Return the stages of an event; ranks are 0 where the run has no record."""
    names = [matrix.name for matrix in run.matrices]
    scores = event.get("scores")
    if scores:
        score = np.array([_mean(scores.get(name)) for name in names])
        threshold = event.get("threshold")
        order = np.array([_above(scores.get(name), threshold) for name in names])
    else:
        own = event["importance"].get(event["measure"], {})
        score = np.array([own.get(name) for name in names], np.float64)
        for name, value in (event.get("decided") or {}).items():
            if name in run.places:
                score[run.places[name]] = np.inf if value == "first" else np.nan if value is None else value
        order = np.where(np.isnan(score), np.nan, 1.0 + _lower(score))
    pruned, extended = move_counts(run, event)
    rank = run.ranks[record_of(run, event["step"])] if len(run.steps) else np.zeros(len(names))
    rank = rank.astype(np.float64)
    return Stages(event["step"], event["measure"], score, order, bool(scores), rank, pruned, extended)


def standing_out(stages: Stages, event: Mapping[str, Any], direction: str = "both") -> tuple[np.ndarray, np.ndarray]:
    """Return which matrices a decision looks at, at the lower and at the upper end of the order, (M,) bool each.

    Those that moved, and within a budget of pairs those of the ends that a rule kept from it. A threshold points at
    what lies below it, not at ends. A method of one half (direction ``prune_only`` or ``extend_only``) looks at one
    end.
    """
    low, high = stages.pruned > 0, stages.extended > 0
    if stages.by_direction or event.get("threshold") is not None:
        return low, high
    known = ~np.isnan(stages.score)
    if direction != "extend_only":
        low = low | (known & (_lower(stages.score) < event["budget"]))
    if direction != "prune_only":
        high = high | (known & (_lower(-stages.score) < event["budget"]))
    return low, high


def _lower(score: np.ndarray) -> np.ndarray:
    """Return how many scores are lower, (M,)."""
    return np.searchsorted(np.sort(score), score, side="left")


def _mean(scores: list[float | None] | None) -> float:
    known = [score for score in scores or () if score is not None]
    return sum(known) / len(known) if known else float("nan")


def _above(scores: list[float | None] | None, threshold: float | None) -> float:
    if threshold is None or not scores:
        return float("nan")
    return float(sum(score is not None and score > threshold for score in scores))
