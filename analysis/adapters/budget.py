"""One budget over all matrices: which directions stay for a size, or for an error. Pure functions of σ and prices.

Every direction of a matrix costs the same (in + out numbers), and a matrix gives up its smallest first. Giving up
directions by σ² / cost, least first over all matrices, is the greedy solution of a knapsack, for which holds:

- The allocation after each single step is optimal for its own size: none of that size or smaller has less error (the
  squared errors σ² of a block-diagonal ΔW add up, by Eckart and Young, and each step drops what is worth least for its
  cost).
- Where all directions cost the same (total rank; or parameters, if every matrix has one in + out), each whole number of
  directions is such a step: every budget is met optimally.
- Elsewhere a budget may fall between two steps. What room is left is then filled with whatever further directions fit,
  most valuable first. ``Cut.least`` is the linear programme's bound for that very budget: no allocation has less, and
  the squared error found is above it by less than the energy of the one direction that did not fit.
- For an error instead of a size, the same holds with size and error exchanged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from flexlora.brief import Brief


@dataclass(frozen=True, repr=False)
class Cut(Brief):
    """An allocation that meets a budget.

    Attributes:
        ranks: directions that stay of each matrix, (M,) int.
        price: what they cost.
        lost: Σσ² of those that go.
        least: a bound that no allocation under the same budget can beat: of Σσ² lost where the price was given, of the
            price where the loss was given.
    """

    ranks: np.ndarray
    price: int
    lost: float
    least: float


@dataclass(frozen=True, repr=False)
class BudgetCurve(Brief):
    """Directions in the order in which they go.

    Attributes:
        ranks: of each matrix before any goes, (M,) int.
        prices: of one direction of each matrix, (M,) int.
        owners: matrix that gives the k-th direction, (n,) int.
        energies: σ² of the k-th direction, (n,).
    """

    ranks: np.ndarray
    prices: np.ndarray
    owners: np.ndarray
    energies: np.ndarray

    @cached_property
    def price(self) -> np.ndarray:
        """What is left costs after k steps, (n + 1,) int64, descending."""
        saved = np.cumsum(self.prices[self.owners], dtype=np.int64)
        return int(self.ranks @ self.prices) - np.concatenate([np.zeros(1, np.int64), saved])

    @cached_property
    def lost(self) -> np.ndarray:
        """Σσ² that is gone after k steps, (n + 1,), ascending."""
        return np.concatenate([np.zeros(1), np.cumsum(self.energies)])

    def after(self, steps: int) -> np.ndarray:
        """Return the ranks after so many steps, (M,) int."""
        return self.ranks - np.bincount(self.owners[:steps], minlength=len(self.ranks))

    def within_price(self, limit: float, fill: bool = True) -> Cut | None:
        """Return the allocation that costs at most ``limit``; None where even the last step costs more.

        ``fill`` says whether room between two steps is used.
        """
        steps = int(np.searchsorted(-self.price, -limit, side="left"))
        if steps == len(self.price):
            return None
        ranks, price, lost = self.after(steps), int(self.price[steps]), float(self.lost[steps])
        room, least = limit - price, lost
        if steps:
            density = self.energies[steps - 1] / self.prices[self.owners[steps - 1]]
            least = max(0.0, lost - density * room)
        if fill and steps:
            given = self._given_back(steps, room)
            ranks = ranks + np.bincount(self.owners[given], minlength=len(ranks))
            price += int(self.prices[self.owners[given]].sum())
            lost = float(np.delete(self.energies[:steps], given).sum())
        return Cut(ranks, price, lost, least)

    def within_loss(self, limit: float, fill: bool = True) -> Cut:
        """Return the allocation that loses at most ``limit`` of Σσ²."""
        steps = int(np.searchsorted(self.lost, limit, side="right")) - 1
        ranks, price, lost = self.after(steps), int(self.price[steps]), float(self.lost[steps])
        least = float(price)
        if steps < len(self.owners):
            cost, energy = self.prices[self.owners[steps]], self.energies[steps]
            least = max(0.0, price - float(cost * (limit - lost) / energy)) if energy > 0 else least
        if fill and steps < len(self.owners):
            taken = self._taken_too(steps, limit - lost)
            ranks = ranks - np.bincount(self.owners[taken], minlength=len(ranks))
            price -= int(self.prices[self.owners[taken]].sum())
            lost += float(self.energies[taken].sum())
        return Cut(ranks, price, lost, least)

    def _given_back(self, steps: int, room: float) -> list[int]:
        """Return which of the first steps are taken back: those that fit, the last first, each matrix's in order."""
        costs = self.prices[self.owners[:steps]]
        if not steps or room < costs.min():
            return []
        found, closed, least = [], set[int](), int(costs.min())
        for step in range(steps - 1, -1, -1):
            owner = int(self.owners[step])
            if owner in closed:
                continue
            if costs[step] > room:
                closed.add(owner)
                continue
            found.append(step)
            room -= int(costs[step])
            if room < least:
                break
        return found

    def _taken_too(self, steps: int, room: float) -> list[int]:
        """Return which later steps are made too: those that lose no more than ``room``, each matrix's in order."""
        found, closed, least = [], set[int](), float(self.energies[steps:].min())
        for step in range(steps, len(self.owners)):
            owner, energy = int(self.owners[step]), float(self.energies[step])
            if room < least or len(closed) == len(self.ranks):
                break
            if owner in closed:
                continue
            if energy > room:
                closed.add(owner)
                continue
            found.append(step)
            room -= energy
        return found


def least_error_curve(
    spectra: Sequence[np.ndarray], prices: Sequence[int], least: int | Sequence[int] = 1
) -> BudgetCurve:
    """Return the curve of least error: the direction with the least σ² for what it costs goes first.

    Args:
        spectra: σ of each matrix, descending, finite.
        prices: of one direction of each matrix, above 0.
        least: directions that each matrix keeps where it has them, one number or one a matrix; 0 lets it go.
    """
    ranks = np.array([len(values) for values in spectra], np.int64)
    cost = np.asarray(prices, np.int64)
    owners = np.repeat(np.arange(len(ranks)), ranks)
    places = np.arange(len(owners)) - np.repeat(np.cumsum(ranks) - ranks, ranks)
    energies = np.square(np.concatenate([*spectra, np.zeros(0)]))
    # Equal ones: the later place first, then module order.
    order = np.lexsort((owners, -places, energies / cost[owners]))
    stays = np.broadcast_to(np.asarray(least, np.int64), ranks.shape)
    order = order[places[order] >= stays[owners[order]]]
    return BudgetCurve(ranks, cost, owners[order], energies[order])


def ordered_curve(
    names: Sequence[str], spectra: Mapping[str, np.ndarray], price: Mapping[str, int], order: Sequence[str]
) -> BudgetCurve:
    """Return the curve of any order: ``order`` names the matrix that gives its smallest direction, step by step."""
    place = {name: number for number, name in enumerate(names)}
    left = {name: len(spectra[name]) for name in names}
    energies = np.zeros(len(order))
    for step, name in enumerate(order):
        left[name] -= 1
        energies[step] = float(spectra[name][left[name]]) ** 2
    owners = np.array([place[name] for name in order], np.int64)
    ranks = np.array([len(spectra[name]) for name in names], np.int64)
    return BudgetCurve(ranks, np.array([price[name] for name in names], np.int64), owners, energies)
