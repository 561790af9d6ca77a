"""Which records and points are sent when there are too many: extremes and events are never among those left out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def extremes(series: Sequence[np.ndarray], kept: np.ndarray, count: int) -> np.ndarray:
    """Return the places of about ``count`` points: those kept, and least and greatest of each stretch of each series.

    The series are arrays (n,) over the same n points; NaN is no extreme. The places ascend without repeats; they are
    all n when those are no more than ``count``, and more than ``count`` only where ``kept`` asks for it.
    """
    total = len(series[0])
    if total <= count:
        return np.arange(total)
    stretches = max(1, (count - len(np.unique(kept))) // (2 * len(series)))
    size = -(-total // stretches)
    found = [kept]
    for values in series:
        for sign in (1.0, -1.0):
            padded = np.full(stretches * size, np.inf)
            padded[:total] = np.where(np.isnan(values), np.inf, sign * values)
            rows = padded.reshape(stretches, size)
            least = np.argmin(rows, axis=1)
            defined = rows[np.arange(stretches), least] < np.inf
            found.append((np.arange(stretches) * size + least)[defined])
    return np.unique(np.concatenate(found)).astype(np.int64)


def around(steps: np.ndarray, events: Sequence[int]) -> np.ndarray:
    """Return the first and last place, and those of each event with its neighbours; ``steps`` ascends."""
    last = len(steps) - 1
    places = np.searchsorted(steps, np.asarray(events, np.int64))
    wanted = np.concatenate([places - 1, places, places + 1, [0, last]])
    return np.unique(np.clip(wanted, 0, last)).astype(np.int64)


def mean_of(values: np.ndarray) -> np.ndarray:
    """Return the mean of each row over what is defined, NaN where nothing is."""
    defined = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.where(defined, values, 0.0).sum(axis=1) / defined.sum(axis=1)
