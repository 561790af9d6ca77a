"""Ranks before training: f(observed, budget) → matrix → rank, and matrix → score that explains it. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from flexlora.allocation import largest_first, share_out
from flexlora.policies.policy import Observed, Policy

Started = tuple[dict[str, int], dict[str, float]]

RHO = 2
"""EVA: the highest rank of a matrix, as a multiple of the mean (PEFT's default)."""
FIM_TOP = 2
GORA_LEAST, GORA_TOP = 0.5, 4


def uniform(observed: Observed, budget: int) -> dict[str, int]:
    """One rank for all; what cannot be shared evenly goes one each, in module order."""
    limits = observed["limits"]
    return _shared(dict.fromkeys(limits, 1.0), budget, limits)[0]


def eva(observed: Observed, budget: int) -> Started:
    """EVA (Paischer et al. 2024, https://arxiv.org/abs/2410.07170): the largest shares of the inputs' variance.

    Departs from PEFT's: each matrix keeps at least one direction, and only the ranks are taken, not the directions.
    Its scores are the share of the variance that a matrix's rank explains.
    """
    shares = {name: own / own.sum() for name, own in observed["activation_variances"].items()}
    ranks = largest_first(shares, budget, _capped(observed, budget, RHO))
    return ranks, {name: float(own[: ranks[name]].sum()) for name, own in shares.items()}


def gora(observed: Observed, budget: int) -> Started:
    """GoRA (He et al. 2025, https://arxiv.org/abs/2502.12171): rank ∝ mean |W ⊙ ∂L/∂W| / √(in + out).

    Departs from it: ranks add up to the budget exactly (largest remainder); only the ranks are taken.
    """
    gradients, prices = observed["gradients"], observed["prices"]
    weights = {
        name: float(np.abs(weight * gradients[name]).mean()) / math.sqrt(prices[name])
        for name, weight in observed["weights"].items()
    }
    least = max(1, int(GORA_LEAST * budget / len(weights)))
    return _shared(weights, budget, _capped(observed, budget, GORA_TOP), least)


def gradient_variance(observed: Observed, budget: int) -> Started:
    """FIM-LoRA (https://arxiv.org/abs/2605.16800): rank ∝ mean diagonal of the empirical Fisher matrix of W0.

    Departs from it: of the whole W0 in place of a freshly drawn B.
    """
    scores = {name: float(own.mean()) for name, own in observed["squared_gradients"].items()}
    return _shared(scores, budget, _capped(observed, budget, FIM_TOP))


def true_ranks(observed: Observed, budget: int) -> Started:
    """The true ranks from the start; in proportion where the budget is another."""
    truth = observed["truth"]
    return _shared({name: float(rank) for name, rank in truth.items()}, budget, observed["limits"])


def from_scratch(observed: Observed, budget: int) -> dict[str, int]:
    """The ranks that another run ended with, from the start."""
    return dict(observed["given_ranks"])


def permuted_within(observed: Observed, budget: int) -> dict[str, int]:
    """Those ranks dealt at random among the matrices of each module type."""
    types = observed["module_types"]
    groups: dict[str, list[str]] = {}
    for name, kind in types.items():
        groups.setdefault(kind, []).append(name)
    return {name: rank for members in groups.values() for name, rank in _dealt(observed, members).items()}


def permuted_across(observed: Observed, budget: int) -> dict[str, int]:
    """Those ranks dealt at random among all matrices; where one does not fit, the deal is made anew without it."""
    return _dealt(observed, list(observed["limits"]))


def _dealt(observed: Observed, names: Sequence[str]) -> dict[str, int]:
    """Deal ranks to names in a random order; the highest first to those that can hold them."""
    given, limits = observed["given_ranks"], observed["limits"]
    left = sorted(names, key=lambda name: observed["chance"][name])
    dealt = {}
    for rank in sorted((given[name] for name in names), reverse=True):
        taker = next(name for name in left if limits[name] >= rank)
        left.remove(taker)
        dealt[taker] = rank
    return dealt


def _capped(observed: Observed, budget: int, top: float) -> dict[str, int]:
    mean = budget / len(observed["limits"])
    return {name: min(limit, max(1, math.ceil(top * mean))) for name, limit in observed["limits"].items()}


def _shared(weights: dict[str, float], budget: int, limits: Mapping[str, int], least: int = 1) -> Started:
    ranks = share_out(list(weights.values()), budget, [limits[name] for name in weights], least)
    return dict(zip(weights, ranks, strict=True)), weights


def _start(key: str, label: str, function: Callable[..., Any], *reads: str) -> Policy:
    return Policy(key, label, "start", ("limits", *reads), function, settings={"policy": key, "initial_budget": 0})


STARTS: dict[str, Policy] = {
    policy.key: policy
    for policy in (
        _start("uniform", "uniform", uniform),
        _start("eva", "EVA: variance of activations", eva, "activation_variances"),
        _start("gora", "GoRA: weight × gradient", gora, "weights", "gradients", "prices"),
        _start("gradient_variance", "FIM: squared gradients", gradient_variance, "squared_gradients"),
        _start("true_ranks", "true ranks from the start", true_ranks, "truth"),
        _start("from_scratch", "final ranks from scratch", from_scratch, "given_ranks"),
        _start(
            "permuted_within",
            "final ranks, permuted within module types",
            permuted_within,
            "given_ranks",
            "chance",
            "module_types",
        ),
        _start("permuted_across", "final ranks, permuted across all", permuted_across, "given_ranks", "chance"),
    )
}
"""Key → policy that gives ranks before training."""
