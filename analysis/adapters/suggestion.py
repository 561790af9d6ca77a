"""Which rank each matrix should keep for a target, under each importance. Pure functions of singular values."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from analysis.adapters.files import AdapterError
from analysis.adapters.spectra import AdapterSpectra
from flexlora.allocation import least_energy_first
from flexlora.importance import IMPORTANCES, SCORED_BY_LAMBDA
from flexlora.reallocation import Reallocation, plan_reallocation

Order = Callable[[Mapping[str, np.ndarray], Mapping[str, int]], list[str]]
"""f(matrix → σ descending, matrix → price of a direction) → matrices in the order in which each gives one direction."""


def least_error(spectra: Mapping[str, np.ndarray], price: Mapping[str, int]) -> list[str]:
    """Give up the direction with the least energy σ² for what it costs: the least error in the Frobenius norm."""
    return [name for name, place in least_energy_first(spectra, price) if place]


def uniform(spectra: Mapping[str, np.ndarray], price: Mapping[str, int]) -> list[str]:
    """Give up the last direction of the matrices of the highest rank: the control, one rank for all."""
    entries = [(-place, number, name) for number, (name, v) in enumerate(spectra.items()) for place in range(1, v.size)]
    return [name for *_, name in sorted(entries)]


def by_importance(measure: str) -> Order:
    """Return the order in which FlexLoRA's rule prunes: the least important matrix gives its smallest direction.

    Importance is scored anew after each prune, as in an event with ``direction="prune_only"`` and a budget of 1.
    Departs from that in one thing: directions with σ = 0 go first, for they change nothing.
    """
    score = IMPORTANCES[measure]

    def order(spectra: Mapping[str, np.ndarray], price: Mapping[str, int]) -> list[str]:
        names = list(spectra)

        def entry(number: int, rank: int) -> tuple[float, int, int]:
            values = spectra[names[number]][:rank]
            found = score(values) if values[-1] > 0 else None
            return (-np.inf if found is None else round(found, 9)), number, rank

        heap = [entry(number, spectra[name].size) for number, name in enumerate(names) if spectra[name].size > 1]
        heapq.heapify(heap)
        found = []
        while heap:
            _, number, rank = heap[0]
            found.append(names[number])
            if rank > 2:
                heapq.heapreplace(heap, entry(number, rank - 1))
            else:
                heapq.heappop(heap)
        return found

    order.__doc__ = by_importance.__doc__
    return order


ORDERS: dict[str, Order] = {
    "least_error": least_error,
    **{measure: by_importance(measure) for measure in SCORED_BY_LAMBDA},
    "uniform": uniform,
}
"""Name → order in which matrices give up directions. Sensitivity is absent: it needs gradients."""

TARGETS: dict[str, str] = {
    "rank": "total rank, in directions",
    "parameters": "parameters of all directions, Σ rank · (in + out)",
    "energy": "share of the energy Σσ² of all matrices that is kept, above 0 and at most 1",
}
"""Target → what its value means."""


@dataclass(frozen=True)
class Suggestion:
    """A rank for each matrix.

    Attributes:
        ranks: matrix → rank, at least 1 where the matrix had any.
        by: key of ``ORDERS``.
        target: key of ``TARGETS``.
        value: what was asked for.
        total_rank: Σ ranks.
        parameters: Σ rank · (in + out).
        energy_kept: share of Σσ² of all matrices.
    """

    ranks: dict[str, int]
    by: str
    target: str
    value: float
    total_rank: int
    parameters: int
    energy_kept: float


def suggest_ranks(spectra: AdapterSpectra, target: str, value: float, by: str = "least_error") -> Suggestion:
    """Shrink an adapter to a target; each matrix keeps its largest directions, and at least one.

    Args:
        spectra: an analysed adapter; matrices that hold NaN or infinity keep their rank.
        target: key of ``TARGETS``: what ``value`` bounds. Rank and parameters are upper bounds, energy a lower one.
        value: the bound.
        by: key of ``ORDERS``: which matrix gives the next direction.

    Raises:
        AdapterError: an unknown key, or a target that cannot be met.
    """
    if by not in ORDERS:
        raise AdapterError(f"Unknown order {by!r}. Choose one of: {', '.join(ORDERS)}.")
    if target not in TARGETS:
        raise AdapterError(f"Unknown target {target!r}. Choose one of: {', '.join(TARGETS)}.")
    finite = spectra.finite()
    costs = {matrix.name: matrix.cost for matrix in spectra.adapter.matrices}
    price = costs if target == "parameters" else dict.fromkeys(costs, 1)
    order = ORDERS[by](finite, price)
    ranks = {matrix.name: matrix.rank for matrix in spectra.adapter.matrices}
    for name in order[: _prunes(order, ranks, finite, price, target, value)]:
        ranks[name] -= 1
    energies = {name: np.square(values) for name, values in finite.items()}
    whole = sum(float(energy.sum()) for energy in energies.values())
    kept = sum(float(energy[: ranks[name]].sum()) for name, energy in energies.items())
    return Suggestion(
        ranks=ranks,
        by=by,
        target=target,
        value=value,
        total_rank=sum(ranks.values()),
        parameters=sum(rank * costs[name] for name, rank in ranks.items()),
        energy_kept=kept / whole if whole else 1.0,
    )


def _prunes(
    order: list[str],
    ranks: Mapping[str, int],
    finite: Mapping[str, np.ndarray],
    price: Mapping[str, int],
    target: str,
    value: float,
) -> int:
    """Return how many directions of the order have to go, or may go where energy is the target."""
    if target == "energy":
        if not 0 < value <= 1:
            raise AdapterError(f"energy={value:g} must be above 0 and at most 1, such as 0.99.")
        left = dict(ranks)
        dropped = np.zeros(len(order))
        for number, name in enumerate(order):
            left[name] -= 1
            dropped[number] = float(finite[name][left[name]]) ** 2
        whole = sum(float(np.square(values).sum()) for values in finite.values())
        return int(np.searchsorted(np.cumsum(dropped), (1 - value) * whole, side="right")) if whole else len(order)
    spent = sum(rank * price[name] for name, rank in ranks.items())
    saved = np.concatenate([[0], np.cumsum([price[name] for name in order])]).astype(np.int64)
    least = int(spent - saved[-1])
    if not value >= least:
        raise AdapterError(
            f"{target}={value:g} cannot be met: every matrix keeps at least one direction, which takes {least:,}. "
            f"The adapter has {spent:,}; choose between the two."
        )
    return int(np.searchsorted(saved, spent - value, side="left"))


def flexlora_moves(spectra: AdapterSpectra, budget: int, measure: str = "spectral_entropy") -> Reallocation:
    """Return what one event of FlexLoRA would move in this adapter as it stands.

    A finished adapter only shows where training ended: this says nothing about what came before, nor that moving rank
    now would help. Importance is scored on the true singular values by ``measure``, a key of ``SCORED_BY_LAMBDA``; at
    most ``budget`` directions are pruned, and as many extended.
    """
    finite = spectra.finite()
    limits = {m.name: min(m.in_features, m.out_features) for m in spectra.adapter.matrices}
    scores = {name: IMPORTANCES[measure](values) for name, values in finite.items()}
    return plan_reallocation(scores, {name: v.size for name, v in finite.items()}, budget, max_rank=limits)
