"""Two sets of decisions side by side: what both do, what only one does, how much they agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.runs import Run
from analysis.what_if.replay import Decisions, Settings, random_moves
from flexlora.brief import Brief
from flexlora.config import FlexLoRAConfig


@dataclass(frozen=True, repr=False)
class Difference(Brief):
    """Decisions of one run under two settings, over the E steps at which either has an event.

    Attributes:
        names: M matrices in the header's order.
        steps: (E,) int64.
        actual: (E, M, 2) bool: the run prunes [..., 0] or extends [..., 1].
        other: the same of the replay.
        rank_difference: (M,) final rank of the replay minus that of the run; None where events do not build on each
            other.
    """

    names: list[str]
    steps: np.ndarray
    actual: np.ndarray
    other: np.ndarray
    rank_difference: np.ndarray | None

    @property
    def both(self) -> np.ndarray:
        """(E, M, 2) moves that both make."""
        return self.actual & self.other

    @property
    def only_actual(self) -> np.ndarray:
        """(E, M, 2) moves that only the run makes."""
        return self.actual & ~self.other

    @property
    def only_other(self) -> np.ndarray:
        """(E, M, 2) moves that only the replay makes."""
        return self.other & ~self.actual

    @property
    def per_event(self) -> np.ndarray:
        """(E,) moves that both make as a share of those that either makes; NaN where nothing moves."""
        shared, either = (table.sum(axis=(1, 2)) for table in (self.both, self.actual | self.other))
        return np.divide(shared, either, out=np.full(len(either), np.nan), where=either > 0)

    @property
    def agreement(self) -> float | None:
        """The same over all events (Jaccard); None when neither moves anything."""
        either = int((self.actual | self.other).sum())
        return int(self.both.sum()) / either if either else None


def compare_decisions(actual: Decisions, other: Decisions) -> Difference:
    """Lay decisions of the same matrices side by side; an event that one does not have moves nothing there."""
    if actual.names != other.names:
        raise ValueError("decisions about different matrices cannot be compared")
    steps = np.union1d(actual.steps, other.steps)
    tables = []
    for side in (actual, other):
        table = np.zeros((len(steps), len(side.names), 2), bool)
        table[np.searchsorted(steps, side.steps)] = np.stack([side.prune, side.extend], axis=2)
        tables.append(table)
    before, after = tables
    difference = None
    if actual.final_ranks is not None and other.final_ranks is not None:
        difference = other.final_ranks - actual.final_ranks
    return Difference(actual.names, steps, before, after, difference)


def chance_agreement(
    run: Run, other: Decisions, settings: FlexLoRAConfig | Settings, mode: str, actual: Decisions, draws: int = 3
) -> float | None:
    """Return how far the run agrees with random moves of the same number as ``other``, the mean of some draws."""
    found = [
        compare_decisions(actual, random_moves(run, other, settings, mode, seed)).agreement for seed in range(draws)
    ]
    known = [value for value in found if value is not None]
    return sum(known) / len(known) if known else None
