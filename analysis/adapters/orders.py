"""The orders in which matrices may give up directions. Pure functions of singular values."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping

import numpy as np

from flexlora.allocation import least_energy_first
from flexlora.importance import IMPORTANCES, SCORED_BY_LAMBDA

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
