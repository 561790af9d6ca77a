"""Numbers about many spectra that lie back to back in one flat array. Torch-free."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

BLOCK = 1 << 16
"""Singular values scored at once: few enough to stay in the processor's cache."""


def ragged_entropy(values: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Score many spectra at once, as ``flexlora.importance.spectral_entropy`` scores one.

    Args:
        values: all singular values, flat.
        offsets: (n + 1,) where each spectrum begins; an empty spectrum is allowed.

    Returns:
        (n,) entropy, NaN where undefined, and (n,) energy Σλ², NaN where a value is not finite; both float64.
    """
    offsets = np.asarray(offsets, np.int64)
    count = len(offsets) - 1
    entropy, energy = np.empty(count), np.empty(count)
    edges = np.searchsorted(offsets[:-1], np.arange(offsets[0], offsets[-1], BLOCK)).tolist()
    for start, stop in pairwise(sorted({0, *edges, count})):
        own = offsets[start : stop + 1]
        found = _scores(values[own[0] : own[-1]], own - own[0])
        entropy[start:stop], energy[start:stop] = found
    return entropy, energy


def ragged_sum(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return the sum of each spectrum, (n,) float64; 0 for an empty one."""
    return _reduced(np.add, np.asarray(values, np.float64), offsets)


def ragged_peak(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return the largest finite magnitude of each spectrum, (n,) float64; 0 for an empty one."""
    magnitude = np.abs(values)
    return _reduced(np.maximum, np.where(np.isfinite(magnitude), magnitude, 0), offsets)


def ragged_places(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the places start, start + 1, ... of each start, as many as its count, one spectrum after another."""
    ends = np.cumsum(counts)
    return np.repeat(starts - (ends - counts), counts) + np.arange(ends[-1] if len(ends) else 0)


def _reduced(operation: np.ufunc, values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    # Spectra lie back to back, so the starts of the non-empty ones delimit them all.
    filled = np.flatnonzero(np.diff(offsets))
    found = np.zeros(len(offsets) - 1)
    if len(filled):
        found[filled] = operation.reduceat(values, offsets[:-1][filled])
    return found


def _scores(values: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    lengths = np.diff(offsets)
    entropy, energy = np.full(len(lengths), np.nan), np.zeros(len(lengths))
    filled = np.flatnonzero(lengths)
    if not len(filled):
        return entropy, energy
    starts, sizes = offsets[:-1][filled], lengths[filled]
    magnitude = np.abs(np.asarray(values, np.float64))
    peak = np.maximum.reduceat(magnitude, starts)
    usable = np.isfinite(peak) & (peak > 0)
    # An energy beyond float64 is inf; non-finite spectra make NaN on their way and are masked.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
        share = np.square(magnitude / np.repeat(np.where(usable, peak, 1.0), sizes))
        total = np.add.reduceat(share, starts)
        energy[filled] = np.where(np.isfinite(peak), total * peak * peak, np.nan)
        share /= np.repeat(np.where(usable, total, 1.0), sizes)
        terms = np.where(share > 0, share * np.log(share), 0.0)
        found = -np.add.reduceat(terms, starts) / np.log(sizes)
    found = np.where(sizes == 1, 1.0, np.clip(found, 0.0, 1.0))
    entropy[filled] = np.where(usable, found, np.nan)
    return entropy, energy
