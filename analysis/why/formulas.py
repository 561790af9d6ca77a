"""What an importance was computed from: the formula with a matrix's own numbers in it."""

from __future__ import annotations

import numpy as np

from analysis.why.wording import number
from flexlora.importance import GRADIENTS, IMPORTANCES, TRUE_VALUES

SHOWN = 6
"""Numbers of a formula that are written out, the largest first."""
SHARES = "s = λ²/Σλ²"


def formula(key: str, values: np.ndarray | None, true_values: np.ndarray | None, epsilon: float) -> str:
    """Return the formula of a measure with the numbers of one matrix in it.

    ``key`` is one of ``IMPORTANCES``; any other gives a plain sentence. ``values`` (r,) are the λ that the event saw
    and ``true_values`` (r,) the singular values of ΔW, None = not in the log; ``epsilon`` is ε inside the logarithm.
    """
    measure = IMPORTANCES.get(key)
    if measure is None:
        return f"{key} as logged"
    if measure.scores == GRADIENTS:
        return f"{measure.formula}; gradients are not logged"
    used = true_values if measure.scores == TRUE_VALUES else values
    if used is None:
        return "what it was computed from was not logged at this step"
    magnitude = np.sort(np.abs(np.asarray(used, np.float64)))[::-1]
    if not len(magnitude):
        return "it has no direction"
    if not np.isfinite(magnitude).all():
        return f"{np.sum(~np.isfinite(magnitude))} of its {len(magnitude)} λ are not finite"
    if measure.undefined_at_zero and not magnitude[0]:
        return f"every λ is 0, so there are no shares {SHARES}"
    if measure.silent_at_rank_one and len(magnitude) == 1:
        return "rank 1: log 1 = 0 leaves the formula undefined; it counts as 1 unless a rule says otherwise"
    written = measure.written(len(magnitude), epsilon)
    if measure.terms == "s":
        energy = np.square(magnitude / magnitude[0])
        return f"{written} with {SHARES} = {listed(energy / energy.sum())}"
    return f"{written} with {measure.terms} = {listed(magnitude)}" if measure.terms else written


def listed(values: np.ndarray) -> str:
    """Return the first numbers of an array, and whether there are more."""
    told = [number(value) for value in values[:SHOWN].tolist()]
    return ", ".join([*told, "…"] if len(values) > SHOWN else told)
