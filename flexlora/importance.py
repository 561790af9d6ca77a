"""Importance measures: how much a matrix deserves its rank, from its singular values.

The paper's measure is the normalised spectral entropy ``I = -(1/log r) · Σ s_i log(s_i + ε)`` of the energy shares
``s_i = λ_i² / Σ_j λ_j²`` (FlexLoRA, ICLR 2026, https://openreview.net/forum?id=tqnkbdYWWm). The others are the paper's
own ablation and its reviewers' proposals. None always means: undefined, nothing can be said.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Importance: TypeAlias = Callable[[ArrayLike], float | None]
"""f(array (r,)) → score, or None where the score is undefined."""


def spectral_entropy(singular_values: ArrayLike, *, epsilon: float = 0.0) -> float | None:
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
    shares = _energy_shares(singular_values)
    if shares is None:
        return None
    if shares.size == 1:
        return 1.0
    if epsilon:
        return float(-(shares * np.log(shares + epsilon)).sum() / math.log(shares.size))
    return min(1.0, max(0.0, _entropy(shares) / math.log(shares.size)))


def nuclear_norm(singular_values: ArrayLike) -> float | None:
    """Return Σ|λ_i|; 0.0 when every value is zero."""
    scaled, largest = _scaled(singular_values)
    return None if scaled is None else largest * float(scaled.sum())


def frobenius_norm(singular_values: ArrayLike) -> float | None:
    """Return √Σλ_i², which is ‖ΔW‖_F / s when P and Q are orthonormal; 0.0 when every value is zero."""
    scaled, largest = _scaled(singular_values)
    return None if scaled is None else largest * math.sqrt(float(np.square(scaled).sum()))


def effective_rank(singular_values: ArrayLike) -> float | None:
    """Return exp(H) of the λ² shares, in [1, r]: the number of directions that carry energy (Roy & Vetterli 2007)."""
    shares = _energy_shares(singular_values)
    return None if shares is None else min(float(shares.size), max(1.0, math.exp(_entropy(shares))))


def energy_gated_entropy(singular_values: ArrayLike) -> float | None:
    """Return spectral entropy × Frobenius norm: an even spectrum counts only as far as it carries energy."""
    entropy, norm = spectral_entropy(singular_values), frobenius_norm(singular_values)
    return None if entropy is None or norm is None else entropy * norm


def sensitivity(array: ArrayLike) -> float | None:
    """Return the mean of |values|. The array is λ_i · ∂L/∂λ_i, not λ: AdaLoRA's score without smoothing over time."""
    scaled, largest = _scaled(array)
    return None if scaled is None else largest * float(scaled.mean())


def true_spectral_entropy(array: ArrayLike) -> float | None:
    """Return the spectral entropy of the true singular values of ΔW, which are passed instead of λ."""
    return spectral_entropy(array)


def random(array: ArrayLike) -> float | None:
    """Return a number in [0, 1) drawn by hashing the values: a control that a replay repeats exactly."""
    values = _finite(array)
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
    return {key: {name: IMPORTANCES[key](array) for name, array in arrays.items()} for key in measures}


def _finite(array: ArrayLike) -> NDArray[np.float64] | None:
    values = np.asarray(array, dtype=np.float64).ravel()
    return values if values.size and np.isfinite(values).all() else None


def _scaled(array: ArrayLike) -> tuple[NDArray[np.float64] | None, float]:
    """Return |values| / max|values|, ascending, and that maximum: squares then neither overflow nor vanish."""
    values = _finite(array)
    if values is None:
        return None, 0.0
    # Sorted, so that a sum does not depend on the order in which directions are stored.
    values = np.sort(np.abs(values))
    largest = float(values[-1])
    return (values / largest if largest else values), largest


def _energy_shares(array: ArrayLike) -> NDArray[np.float64] | None:
    scaled, largest = _scaled(array)
    if scaled is None or not largest:
        return None
    energy = np.square(scaled)
    return energy / energy.sum()


def _entropy(shares: NDArray[np.float64]) -> float:
    present = shares[shares > 0.0]
    return -float((present * np.log(present)).sum())
