"""Scores of a run on a planted task: how near to the truth, how fast, and what it cost in loss."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike


def distance(ranks: ArrayLike, true_ranks: ArrayLike) -> float:
    """Return ½ · Σ|r − r*| / Σ r*: the share of the truth's directions that stand in another matrix; 0 = the truth."""
    wanted = np.asarray(true_ranks, np.float64)
    return float(np.abs(np.asarray(ranks, np.float64) - wanted).sum() / (2.0 * wanted.sum()))


@dataclass(frozen=True)
class Way:
    """How a run moved towards the truth.

    Attributes:
        first: distance at the start.
        last: distance after the last event.
        halfway_step: the first event after which at most half of the first distance was left; None = none was, or the
            run began at the truth.
        towards: share of the changes of rank that brought their matrix nearer to its true rank; NaN without any.
        nearer: changes of rank that did so.
        changes: of rank by one: directions pruned plus directions extended.
    """

    first: float
    last: float
    halfway_step: int | None
    towards: float
    nearer: int
    changes: int


def way(first_ranks: Mapping[str, int], events: Sequence[Mapping[str, Any]], true_ranks: Mapping[str, int]) -> Way:
    """Return how the events of a run, in order, led from its first ranks towards the true ones.

    Args:
        first_ranks: matrix → rank before the first event.
        events: each with ``step``, ``prune`` and ``extend``: moves in order, each with its ``matrix``.
        true_ranks: matrix → r*.
    """
    ranks, names = dict(first_ranks), list(true_ranks)
    wanted = [true_ranks[name] for name in names]
    first = last = distance([ranks[name] for name in names], wanted)
    halfway, nearer, changes = None, 0, 0
    for event in events:
        for half, change in (("prune", -1), ("extend", 1)):
            for move in event[half]:
                name = move["matrix"]
                nearer += (true_ranks[name] - ranks[name]) * change > 0
                ranks[name] += change
                changes += 1
        last = distance([ranks[name] for name in names], wanted)
        if halfway is None and first > 0 and last <= first / 2:
            halfway = int(event["step"])
    return Way(first, last, halfway, nearer / changes if changes else math.nan, nearer, changes)


def relative_loss(loss: float, uniform: float, oracle: float) -> float:
    """Return (loss − oracle) / (uniform − oracle): 0 = as good as the true ranks, 1 = as good as one rank for all.

    NaN where the two references do not differ.
    """
    return (loss - oracle) / (uniform - oracle) if uniform != oracle else math.nan
