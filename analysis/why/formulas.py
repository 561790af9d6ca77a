"""What an importance was computed from: the formula with a matrix's own numbers in it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from analysis.why.wording import number

SHOWN = 6
"""Numbers of a formula that are written out, the largest first."""

Formula = Callable[[np.ndarray, float], str]


def formula(measure: str, values: np.ndarray | None, true_values: np.ndarray | None, epsilon: float) -> str:
    """Return the formula of a measure with the numbers of one matrix in it.

    Args:
        measure: key of ``flexlora.importance.IMPORTANCES``; any other gives a plain sentence.
        values: (r,) λ that the event saw; None = not in the log.
        true_values: (r,) singular values of ΔW at the event; None = not in the log.
        epsilon: ε inside the logarithm.
    """
    if measure == "sensitivity":
        return "mean of |λ · ∂L/∂λ| over its directions; gradients are not logged"
    if measure not in FORMULAS:
        return f"{measure} as logged"
    used = true_values if measure == "true_spectral_entropy" else values
    if used is None:
        return "what it was computed from was not logged at this step"
    magnitude = np.sort(np.abs(np.asarray(used, np.float64)))[::-1]
    if not len(magnitude):
        return "it has no direction"
    if not np.isfinite(magnitude).all():
        return f"{np.sum(~np.isfinite(magnitude))} of its {len(magnitude)} λ are not finite"
    return FORMULAS[measure](magnitude, epsilon if measure == "spectral_entropy" else 0.0)


def listed(values: np.ndarray) -> str:
    """Return the first numbers of an array, and whether there are more."""
    told = [number(value) for value in values[:SHOWN].tolist()]
    return ", ".join([*told, "…"] if len(values) > SHOWN else told)


def _shares(magnitude: np.ndarray) -> np.ndarray:
    energy = np.square(magnitude / magnitude[0])
    return energy / energy.sum()


def _entropy(magnitude: np.ndarray, epsilon: float) -> str:
    if not magnitude[0]:
        return "every λ is 0, so there are no shares s = λ²/Σλ²"
    if len(magnitude) == 1:
        return "rank 1: log 1 = 0 leaves the formula undefined; it counts as 1 unless a rule says otherwise"
    inside = f"(s + {epsilon:g})" if epsilon else "s"
    return f"−1/log {len(magnitude)} · Σ s log {inside} with s = λ²/Σλ² = {listed(_shares(magnitude))}"


def _effective(magnitude: np.ndarray, epsilon: float) -> str:
    if not magnitude[0]:
        return "every λ is 0, so there are no shares s = λ²/Σλ²"
    return f"exp(−Σ s log s) with s = λ²/Σλ² = {listed(_shares(magnitude))}"


def _nuclear(magnitude: np.ndarray, epsilon: float) -> str:
    return f"Σ|λ| with |λ| = {listed(magnitude)}"


def _frobenius(magnitude: np.ndarray, epsilon: float) -> str:
    return f"√Σλ² with |λ| = {listed(magnitude)}"


def _gated(magnitude: np.ndarray, epsilon: float) -> str:
    if not magnitude[0]:
        return "every λ is 0, so there are no shares s = λ²/Σλ²"
    return f"spectral entropy · √Σλ² with |λ| = {listed(magnitude)}"


def _random(magnitude: np.ndarray, epsilon: float) -> str:
    return f"drawn by hashing the {len(magnitude)} λ: a control"


FORMULAS: dict[str, Formula] = {
    "spectral_entropy": _entropy,
    "true_spectral_entropy": _entropy,
    "nuclear_norm": _nuclear,
    "frobenius_norm": _frobenius,
    "energy_gated_entropy": _gated,
    "effective_rank": _effective,
    "random": _random,
}
"""Measure → f(|λ| (r,) descending, ε) → the formula with these numbers."""
