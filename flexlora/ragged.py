"""Numbers about many spectra that lie back to back in one flat array. Torch-free."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BLOCK = 1 << 16
"""Singular values scored at once: few enough to stay in the processor's cache."""


class Spectra:
    """Many arrays back to back, and what several measures need of them, computed once; see ``importance.Spectrum``.

    An array that is not finite makes NaN on its way, and a large one inf: whoever reads ignores floating-point errors.

    Attributes:
        values: (N,) float64, flat.
        sizes: (n,) how many values each array has; it may be empty.
        peak: (n,) max|values|; 0 for an empty array, NaN or inf for one that is not finite.
        finite: (n,) it has values, and all are finite.
        live: (n,) it also has energy.
    """

    def __init__(self, values: np.ndarray, offsets: np.ndarray) -> None:
        """Lay out arrays.

        Args:
            values: (N,) flat.
            offsets: (n + 1,) where each begins, from 0 to N.
        """
        self.values = np.asarray(values, np.float64)
        self._offsets = np.asarray(offsets, np.int64)
        self.sizes = np.diff(self._offsets)
        self._magnitude = np.abs(self.values)
        self.peak = _reduced(np.maximum, self._magnitude, self._offsets)
        self.finite = np.isfinite(self.peak) & (self.sizes > 0)
        self.live = self.finite & (self.peak > 0)

    def __iter__(self) -> Iterator[Floats]:
        """Yield the arrays, one after another."""
        return (self.values[start:stop] for start, stop in pairwise(self._offsets.tolist()))

    def sums(self, flat: Floats) -> Floats:
        """Return the sum over each array of numbers that lie like ``values``; 0 for an empty one."""
        return _reduced(np.add, flat, self._offsets)

    @cached_property
    def scaled(self) -> Floats:
        """|values| / peak, flat: squares then neither overflow nor vanish. Not scaled where nothing is live."""
        return self._magnitude / self._repeated(np.where(self.live, self.peak, 1.0))

    @cached_property
    def squares(self) -> Floats:
        """Σ scaled², (n,)."""
        return self.sums(np.square(self.scaled))

    @cached_property
    def energy(self) -> Floats:
        """Σλ², (n,): inf beyond float64, NaN where a value is not finite."""
        return np.where(np.isfinite(self.peak), self.squares * self.peak * self.peak, np.nan)

    @cached_property
    def shares(self) -> Floats:
        """Shares of the energy, flat; meaningless where nothing is live."""
        return np.square(self.scaled) / self._repeated(np.where(self.live, self.squares, 1.0))

    @cached_property
    def entropy(self) -> Floats:
        """Entropy of the shares in nats, (n,); 0 · log 0 = 0, and meaningless where nothing is live."""
        return -self.sums(np.where(self.shares > 0, self.shares * np.log(self.shares), 0.0))

    def normalised_entropy(self, epsilon: float = 0.0) -> Floats:
        """Return each ``importance.spectral_entropy``, (n,), NaN where it is undefined."""
        if epsilon:
            found = -self.sums(self.shares * np.log(self.shares + epsilon)) / np.log(self.sizes)
        else:
            found = np.clip(self.entropy / np.log(self.sizes), 0.0, 1.0)
        return np.where(self.live, np.where(self.sizes == 1, 1.0, found), np.nan)

    def _repeated(self, each: Floats) -> Floats:
        return np.repeat(each, self.sizes)


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
        spectra = Spectra(values[own[0] : own[-1]], own - own[0])
        with np.errstate(all="ignore"):
            entropy[start:stop], energy[start:stop] = spectra.normalised_entropy(), spectra.energy
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
