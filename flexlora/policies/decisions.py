"""Moves at an event: f(observed, ranks, budget) → scores or moves. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flexlora.allocation import cut_to, least_energy_first
from flexlora.importance import IMPORTANCES, spectral_entropy
from flexlora.policies.policy import Observed, Policy

READ_BY = {"sensitivity": "sensitivities", "true_spectral_entropy": "true_singular_values"}
"""Importance → the array that it scores, where that is not λ."""


def still(observed: Observed, ranks: Mapping[str, int], budget: int) -> tuple[list[str], list[str]]:
    """Events without moves."""
    return [], []


def random(observed: Observed, ranks: Mapping[str, int], budget: int) -> Mapping[str, float]:
    """As many moves as the schedule allows, between matrices drawn anew at each event."""
    return observed["chance"]


def inverted(observed: Observed, ranks: Mapping[str, int], budget: int) -> dict[str, float | None]:
    """FlexLoRA's rule upside down: from the highest spectral entropy to the lowest."""
    found = {}
    for name, values in observed["lambda"].items():
        entropy = spectral_entropy(values) if len(values) > 1 else None
        found[name] = None if entropy is None else -entropy
    return found


def oracle(observed: Observed, ranks: Mapping[str, int], budget: int) -> tuple[list[str], list[str]]:
    """From where most is over the true rank to where most is missing, until nothing is either or no more is allowed."""
    limits = observed["limits"]
    missing = {name: min(rank, limits[name]) - ranks[name] for name, rank in observed["truth"].items()}
    prune, extend = [], []
    for _ in range(budget):
        low, high = min(missing, key=lambda name: missing[name]), max(missing, key=lambda name: missing[name])
        if missing[low] >= 0 or missing[high] <= 0:
            break
        missing[low] += 1
        missing[high] -= 1
        prune.append(low)
        extend.append(high)
    return prune, extend


def big_then_cut(observed: Observed, budget: int) -> list[tuple[str, int]]:
    """Matrix and place of each direction that goes: the least energy for its price first, until the rest fits."""
    norms, prices = observed["component_norms"], observed["prices"]
    order = least_energy_first(norms, prices)
    return order[: cut_to(order, prices, budget)]


def by_importance(key: str) -> Policy:
    """Return an importance of ``IMPORTANCES`` as a policy; it runs as that importance."""
    array = READ_BY.get(key, "lambda")

    def score(observed: Observed, ranks: Mapping[str, int], budget: int) -> dict[str, Any]:
        return {name: IMPORTANCES[key](values) for name, values in observed[array].items()}

    return Policy(key, key.replace("_", " "), "decide", (array,), score, settings={"importance": key})


def _decide(key: str, label: str, function: Any, *reads: str) -> Policy:
    return Policy(key, label, "decide", reads, function, settings={"policy": key})


DECISIONS: dict[str, Policy] = {
    **{key: by_importance(key) for key in IMPORTANCES if key != "random"},
    "random": _decide("random", "random moves", random, "chance"),
    "inverted": _decide("inverted", "spectral entropy, inverted", inverted, "lambda"),
    "still": _decide("still", "events without moves", still),
    "oracle": _decide("oracle", "oracle: towards the true ranks", oracle, "truth", "limits"),
    "big_then_cut": Policy(
        "big_then_cut", "train big, then cut", "cut", ("component_norms", "prices"), big_then_cut, method="big_then_cut"
    ),
}
"""Key → policy that moves directions at events."""
