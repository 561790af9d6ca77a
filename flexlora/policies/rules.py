"""Each method's rule on FlexLoRA's adapter: what its decision alone would move, at equal total rank. Pure functions.

A rule chooses matrices; which direction a matrix loses and how a new one starts is the adapter's business. Of methods
that only take away, what is taken is theirs, and the other end of their own order says who gets it. SoRA, SaLoRA,
AutoLoRA, DyLoRA and MLAE decide nothing from what is observed: their ranks come from training gates or from chance.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from flexlora.choices import at_zero, pool_ends
from flexlora.policies.policy import Observed, Policy

ELALORA_POOL = 2
"""Directions that each matrix puts up, the default of ElaLoRA."""

Moved = tuple[list[str], list[str]]


def smoothed_sensitivity(observed: Observed, ranks: Mapping[str, int], budget: int) -> dict[str, float | None]:
    """AdaLoRA's score, smoothed sensitivity × uncertainty, as one number a matrix: the mean over its directions."""
    scores = observed["smoothed_sensitivities"].items()
    return {name: float(own.mean()) if len(own) and np.isfinite(own).all() else None for name, own in scores}


def adalora_rule(observed: Observed, ranks: Mapping[str, int], budget: int) -> Moved:
    """AdaLoRA (Zhang et al. 2023): the lowest-scored directions of all matrices go; the owners of the highest get one.

    AdaLoRA itself gives nothing; where it keeps a direction, its score is the same.
    """
    return _ends(observed, "smoothed_sensitivities", None, budget)


def elalora_rule(observed: Observed, ranks: Mapping[str, int], budget: int) -> Moved:
    """ElaLoRA (Chang, Ma et al. 2025): the two ends of a pool of the lowest two directions of each matrix."""
    return _ends(observed, "smoothed_sensitivities", ELALORA_POOL, budget)


def dora_dynamic_rule(observed: Observed, ranks: Mapping[str, int], budget: int) -> Moved:
    """DoRA (Mao et al. 2024): the smallest smoothed shares of their matrix go; the owners of the largest get one.

    DoRA itself gives nothing.
    """
    return _ends(observed, "smoothed_shares", None, budget)


def l1ra_rule(observed: Observed, ranks: Mapping[str, int], budget: int) -> Moved:
    """L1RA (Singh et al. 2025): the smallest |λ| go, to the matrices that lost nothing, in turn, firmest first.

    L1RA prunes what its pull has brought to 0; without that pull, the ``budget`` smallest stand for it.
    """
    values = {name: np.abs(own) for name, own in observed["lambda"].items()}
    every = np.sort(np.concatenate(list(values.values())))
    below = float(every[budget]) if budget < len(every) else np.inf
    low, extend = at_zero(values, observed["limits"], below)
    low.sort(key=lambda entry: values[entry[0]][entry[1]])
    return [name for name, _ in low[: len(extend)]], extend


def _ends(observed: Observed, array: str, pool: int | None, budget: int) -> Moved:
    scores = observed[array]
    places = {name: list(range(len(own))) for name, own in scores.items()}
    most = pool if pool is not None else max(map(len, places.values()))
    taken, given = pool_ends(scores, places, observed["limits"], most, budget)
    return [name for _, name, _ in taken], [name for _, name, _ in given]


def _rule(key: str, label: str, function: Any, *reads: str) -> Policy:
    return Policy(key, label, "decide", reads, function, settings={"policy": key})


RULES: dict[str, Policy] = {
    policy.key: policy
    for policy in (
        _rule("smoothed_sensitivity", "AdaLoRA's score", smoothed_sensitivity, "smoothed_sensitivities"),
        _rule("adalora_rule", "AdaLoRA's rule", adalora_rule, "smoothed_sensitivities", "limits"),
        _rule("elalora_rule", "ElaLoRA's rule", elalora_rule, "smoothed_sensitivities", "limits"),
        _rule("dora_dynamic_rule", "DoRA's rule", dora_dynamic_rule, "smoothed_shares", "limits"),
        _rule("l1ra_rule", "L1RA's rule", l1ra_rule, "lambda", "limits"),
    )
}
"""Key → policy that decides as a method does."""
