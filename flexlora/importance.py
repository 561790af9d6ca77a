"""Importance measures: how much a matrix deserves its rank, from its singular values.

The paper's measure is the normalised spectral entropy ``I = -(1/log r) · Σ s_i log(s_i + ε)`` of the energy shares
``s_i = λ_i² / Σ_j λ_j²`` (FlexLoRA, ICLR 2026, https://openreview.net/forum?id=tqnkbdYWWm). The others are the paper's
own ablation and its reviewers' proposals. None always means: undefined, nothing can be said.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flexlora.ragged import Spectra


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
    # Adding 0.0 turns -0.0 into 0.0: equal arrays must give equal numbers.
    return None if values is None else _hashed((values + 0.0).astype("<f8").data)


def _hashed(values: memoryview) -> float:
    digest = hashlib.blake2b(values, digest_size=8).digest()
    return (int.from_bytes(digest, "little") >> 11) / (1 << 53)


LAMBDA, TRUE_VALUES, GRADIENTS = "λ", "σ of ΔW", "λ · ∂L/∂λ"
"""What a measure may score: λ as trained, the singular values of ΔW itself, or λ times its gradient."""


@dataclass(frozen=True)
class Measure:
    """One measure: how it is computed, and how it is written wherever it is shown. Call it on one array.

    Attributes:
        key: its name in settings and logs.
        label: its name in a sentence.
        function: f(array (r,)) → score, or None where it is undefined.
        template: the same as text; ``{r}`` stands for the rank and ``{s}`` for what is inside the logarithm.
        batched: f(many arrays) → (n,) scores, NaN where undefined; None = one array after another.
        range: least and largest value; None = no bound.
        scores: LAMBDA, TRUE_VALUES or GRADIENTS.
        terms: the numbers that the formula is made of: ``|λ|``, ``s`` (shares of the energy), or empty.
        undefined_at_zero: an array without energy has no score.
        silent_at_rank_one: it divides by log r, and so says nothing about a matrix of rank 1.
        has_epsilon: both functions take ``epsilon=``.
    """

    key: str
    label: str
    function: Callable[..., float | None]
    template: str
    batched: Callable[..., NDArray[np.float64]] | None = None
    range: tuple[float | None, float | None] = (0.0, None)
    scores: str = LAMBDA
    terms: str = "|λ|"
    undefined_at_zero: bool = False
    silent_at_rank_one: bool = False
    has_epsilon: bool = False

    def __call__(self, array: ArrayLike | Spectrum) -> float | None:
        """Return the score of one array (r,), None where it is undefined."""
        return self.function(array)

    def many(self, spectra: Spectra, epsilon: float = 0.0) -> NDArray[np.float64]:
        """Return the score of each of many arrays, (n,), NaN where it is undefined."""
        options = self.options(epsilon)
        if self.batched is not None:
            with np.errstate(all="ignore"):
                return self.batched(spectra, **options)
        found = [self.function(values, **options) for values in spectra]
        return np.array([np.nan if score is None else score for score in found], np.float64)

    def options(self, epsilon: float) -> dict[str, Any]:
        """Return what its functions take beside the array."""
        return {"epsilon": epsilon} if self.has_epsilon else {}

    def written(self, rank: int | str = "r", epsilon: float = 0.0) -> str:
        """Return the formula, of a matrix of this rank."""
        return self.template.format(r=rank, s=f"(s + {epsilon:g})" if epsilon and self.has_epsilon else "s")

    @property
    def formula(self) -> str:
        """The formula of a matrix of rank r."""
        return self.written()

    @property
    def undefined(self) -> str:
        """Arrays that have no score."""
        return "empty, all zero, non-finite" if self.undefined_at_zero else "empty, non-finite"


def _nuclear_norms(spectra: Spectra) -> NDArray[np.float64]:
    return np.where(spectra.finite, spectra.peak * spectra.sums(spectra.scaled), np.nan)


def _frobenius_norms(spectra: Spectra) -> NDArray[np.float64]:
    return np.where(spectra.finite, spectra.peak * np.sqrt(spectra.squares), np.nan)


def _effective_ranks(spectra: Spectra) -> NDArray[np.float64]:
    return np.where(spectra.live, np.clip(np.exp(spectra.entropy), 1.0, spectra.sizes), np.nan)


def _random_numbers(spectra: Spectra) -> NDArray[np.float64]:
    whole = (spectra.values + 0.0).astype("<f8").data
    ends = np.cumsum(spectra.sizes)
    bounds = zip((ends - spectra.sizes).tolist(), ends.tolist(), spectra.finite.tolist(), strict=True)
    return np.array([_hashed(whole[start:stop]) if finite else np.nan for start, stop, finite in bounds], np.float64)


_ENTROPY: dict[str, Any] = {
    "template": "−1/log {r} · Σ s log {s}",
    "batched": Spectra.normalised_entropy,
    "range": (0.0, 1.0),
    "terms": "s",
    "undefined_at_zero": True,
    "silent_at_rank_one": True,
}

IMPORTANCES: dict[str, Measure] = {
    measure.key: measure
    for measure in (
        Measure("spectral_entropy", "spectral entropy", spectral_entropy, **_ENTROPY, has_epsilon=True),
        Measure("nuclear_norm", "nuclear norm", nuclear_norm, "Σ|λ|", _nuclear_norms),
        Measure("frobenius_norm", "Frobenius norm", frobenius_norm, "√Σλ²", _frobenius_norms),
        Measure("sensitivity", "sensitivity", sensitivity, "mean of |λ · ∂L/∂λ| over its directions", scores=GRADIENTS),
        Measure(
            "energy_gated_entropy",
            "energy-gated entropy",
            energy_gated_entropy,
            "spectral entropy · √Σλ²",
            lambda spectra: spectra.normalised_entropy() * _frobenius_norms(spectra),
            undefined_at_zero=True,
        ),
        Measure(
            "effective_rank",
            "effective rank",
            effective_rank,
            "exp(−Σ s log s)",
            _effective_ranks,
            (1.0, None),
            terms="s",
            undefined_at_zero=True,
        ),
        Measure("true_spectral_entropy", "entropy of ΔW itself", true_spectral_entropy, **_ENTROPY, scores=TRUE_VALUES),
        Measure(
            "random",
            "random (a control)",
            random,
            "drawn by hashing the {r} λ: a control",
            _random_numbers,
            range=(0.0, 1.0),
            terms="",
        ),
    )
}
"""Measure name → its record; ``IMPORTANCES[key](array (r,))`` → score or None."""

SCORED_BY_LAMBDA = tuple(key for key, measure in IMPORTANCES.items() if measure.scores == LAMBDA)
"""Measures that λ alone gives."""


def measure_label(key: str) -> str:
    """Return a measure's name in a sentence; one that a method logs under a name of its own is told by that."""
    return IMPORTANCES[key].label if key in IMPORTANCES else key.replace("_", " ").replace(" times ", " × ")


def measure_range(key: str) -> tuple[float | None, float | None]:
    """Return the least and largest value of a measure, None = no bound, or none known."""
    return IMPORTANCES[key].range if key in IMPORTANCES else (None, None)


def silent_at_rank_one(key: str) -> bool:
    """Return whether a measure says nothing about a matrix of rank 1."""
    return key in IMPORTANCES and IMPORTANCES[key].silent_at_rank_one


def undefined_at_zero(key: str) -> bool:
    """Return whether a measure says nothing about a matrix whose λ are all 0; of a policy's scores nobody knows."""
    return key not in IMPORTANCES or IMPORTANCES[key].undefined_at_zero


def score_all(
    arrays: Mapping[str, ArrayLike], measures: Iterable[str], epsilon: float = 0.0
) -> dict[str, dict[str, float | None]]:
    """Return measure → name → score of that array; ε goes to the measures that have one."""
    values = [np.asarray(array, np.float64).reshape(-1) for array in arrays.values()]
    with np.errstate(all="ignore"):
        spectra = Spectra(np.concatenate([np.empty(0), *values]), np.cumsum([0, *map(len, values)]))
        scores = {key: IMPORTANCES[key].many(spectra, epsilon).tolist() for key in measures}
    return {
        key: {name: None if math.isnan(score) else score for name, score in zip(arrays, own, strict=True)}
        for key, own in scores.items()
    }


def _spectrum(array: ArrayLike | Spectrum) -> Spectrum:
    return array if isinstance(array, Spectrum) else Spectrum(array)
