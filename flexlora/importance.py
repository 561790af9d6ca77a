"""Importance measures: how much a matrix deserves its rank, from its singular values.

The paper's measure is the normalised spectral entropy ``I = -(1/log r) · Σ s_i log(s_i + ε)`` of the energy shares
``s_i = λ_i² / Σ_j λ_j²`` (FlexLoRA, ICLR 2026, https://openreview.net/forum?id=tqnkbdYWWm). The others are the paper's
own ablation and its reviewers' proposals. None always means: undefined, nothing can be said.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Spectrum:
    """An array (r,) and what several measures need of it, computed once.

    Attributes:
        values: float64 as given; None when empty or not finite.
    """

    def __init__(self, array: ArrayLike) -> None:
        values = np.asarray(array, dtype=np.float64).ravel()
        self.values = values if values.size and np.isfinite(values).all() else None

    @cached_property
    def scaled(self) -> tuple[NDArray[np.float64] | None, float]:
        """|values| / max|values|, ascending, and that maximum: squares then neither overflow nor vanish."""
        if self.values is None:
            return None, 0.0
        # Sorted, so that a sum does not depend on the order in which directions are stored.
        values = np.sort(np.abs(self.values))
        largest = float(values[-1])
        return (values / largest if largest else values), largest

    @cached_property
    def shares(self) -> NDArray[np.float64] | None:
        """Shares of the energy, ascending; None where there is none."""
        scaled, largest = self.scaled
        if scaled is None or not largest:
            return None
        energy = np.square(scaled)
        return energy / energy.sum()

    @cached_property
    def entropy(self) -> float:
        """Entropy of the shares in nats; 0 · log 0 = 0."""
        if self.shares is None:
            raise ValueError("a spectrum without energy has no entropy")
        present = self.shares[self.shares > 0.0]
        return -float((present * np.log(present)).sum())


Importance: TypeAlias = Callable[[ArrayLike | Spectrum], float | None]
"""f(array (r,)) → score, or None where the score is undefined."""


def spectral_entropy(singular_values: ArrayLike | Spectrum, *, epsilon: float = 0.0) -> float | None:
    """Return the normalised spectral entropy of λ²: 0 = all energy in one direction, 1 = spread evenly.

    It depends on shares only, so it is the same at any magnitude: it says nothing about how large ΔW is.

    Args:
        singular_values: (r,) λ as trained, signed or not.
        epsilon: added inside the logarithm as the paper's formula has it. 0 takes the limit, 0 · log 0 = 0; any other
            value moves the bounds to ``[-log(1 + ε), log r - log(1 + rε)] / log r``.

    Returns:
        A number in [0, 1] (for ε = 0); 1.0 for one non-zero value, where log r = 0 leaves the formula undefined; None
        for an empty, all-zero or non-finite array.
    """
    spectrum = _spectrum(singular_values)
    shares = spectrum.shares
    if shares is None:
        return None
    if shares.size == 1:
        return 1.0
    if epsilon:
        return float(-(shares * np.log(shares + epsilon)).sum() / math.log(shares.size))
    return min(1.0, max(0.0, spectrum.entropy / math.log(shares.size)))


def nuclear_norm(singular_values: ArrayLike | Spectrum) -> float | None:
    """Return Σ|λ_i|; 0.0 when every value is zero."""
    scaled, largest = _spectrum(singular_values).scaled
    return None if scaled is None else largest * float(scaled.sum())


def frobenius_norm(singular_values: ArrayLike | Spectrum) -> float | None:
    """Return √Σλ_i², which is ‖ΔW‖_F / s when P and Q are orthonormal; 0.0 when every value is zero."""
    scaled, largest = _spectrum(singular_values).scaled
    return None if scaled is None else largest * math.sqrt(float(np.square(scaled).sum()))


def effective_rank(singular_values: ArrayLike | Spectrum) -> float | None:
    """Return exp(H) of the λ² shares, in [1, r]: the number of directions that carry energy (Roy & Vetterli 2007)."""
    spectrum = _spectrum(singular_values)
    shares = spectrum.shares
    return None if shares is None else min(float(shares.size), max(1.0, math.exp(spectrum.entropy)))


def energy_gated_entropy(singular_values: ArrayLike | Spectrum) -> float | None:
    """Return spectral entropy × Frobenius norm: an even spectrum counts only as far as it carries energy."""
    spectrum = _spectrum(singular_values)
    entropy, norm = spectral_entropy(spectrum), frobenius_norm(spectrum)
    return None if entropy is None or norm is None else entropy * norm


def sensitivity(array: ArrayLike | Spectrum) -> float | None:
    """Return the mean of |values|. The array is λ_i · ∂L/∂λ_i, not λ: AdaLoRA's score without smoothing over time."""
    scaled, largest = _spectrum(array).scaled
    return None if scaled is None else largest * float(scaled.mean())


def true_spectral_entropy(array: ArrayLike | Spectrum) -> float | None:
    """Return the spectral entropy of the true singular values of ΔW, which are passed instead of λ."""
    return spectral_entropy(array)


def random(array: ArrayLike | Spectrum) -> float | None:
    """Return a number in [0, 1) drawn by hashing the values: a control that a replay repeats exactly."""
    values = _spectrum(array).values
    if values is None:
        return None
    # Adding 0.0 turns -0.0 into 0.0: equal arrays must give equal numbers.
    digest = hashlib.blake2b((values + 0.0).astype("<f8").tobytes(), digest_size=8).digest()
    return (int.from_bytes(digest, "little") >> 11) / (1 << 53)


IMPORTANCES: dict[str, Importance] = {
    "spectral_entropy": spectral_entropy,
    "nuclear_norm": nuclear_norm,
    "frobenius_norm": frobenius_norm,
    "sensitivity": sensitivity,
    "energy_gated_entropy": energy_gated_entropy,
    "effective_rank": effective_rank,
    "true_spectral_entropy": true_spectral_entropy,
    "random": random,
}
"""Measure name → f(array (r,)) → score or None."""

SCORED_BY_LAMBDA = tuple(key for key in IMPORTANCES if key not in ("sensitivity", "true_spectral_entropy"))
"""Measures that λ alone gives."""

ENTROPIES = ("spectral_entropy", "true_spectral_entropy")
"""Measures that divide by log r, and so say nothing about a matrix of rank 1."""


def score_all(arrays: Mapping[str, ArrayLike], measures: Iterable[str]) -> dict[str, dict[str, float | None]]:
    """Return measure → name → score of that array."""
    spectra = {name: Spectrum(array) for name, array in arrays.items()}
    return {key: {name: IMPORTANCES[key](spectrum) for name, spectrum in spectra.items()} for key in measures}


def _spectrum(array: ArrayLike | Spectrum) -> Spectrum:
    return array if isinstance(array, Spectrum) else Spectrum(array)
