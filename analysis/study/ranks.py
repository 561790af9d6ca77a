"""Where rank ends: mean and spread over the seeds of a group, matrix by matrix, and the difference of two groups."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.metrics import final_ranks
from analysis.runs import Matrix
from analysis.statistics import CONFIDENCE, holm, sign_flip_p
from analysis.study.bands import mean_band
from analysis.study.groups import Group
from flexlora.errors import FlexLoRAError


@dataclass(frozen=True)
class GroupRanks:
    """Final ranks of a group.

    Attributes:
        label: of the group.
        matrices: in the header's order, M of them.
        ranks: (n, M) int64, a row a seed.
        seeds: (n,) in the order of the rows.
    """

    label: str
    matrices: list[Matrix]
    ranks: np.ndarray
    seeds: list[int]

    @property
    def mean(self) -> np.ndarray:
        """Mean over seeds, (M,)."""
        return self.ranks.mean(axis=0)

    @property
    def spread(self) -> np.ndarray:
        """Standard deviation over seeds, (M,); NaN for one."""
        if len(self.ranks) < LEAST:
            return np.full(self.ranks.shape[1], np.nan)
        return self.ranks.std(axis=0, ddof=1)


@dataclass(frozen=True)
class RankDifference:
    """Final ranks of one group minus those of another, paired by seed.

    Attributes:
        label: of the first.
        other: of the second.
        matrices: those that both have, M of them.
        mean: (M,).
        low: (M,) lower end of the 95 % interval of each matrix by itself; NaN for one pair.
        high: (M,) its upper end.
        adjusted_p: (M,) of the sign-flip test, after Holm over the matrices; NaN for one pair.
        pairs: number of seeds that both have.
    """

    label: str
    other: str
    matrices: list[Matrix]
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    adjusted_p: np.ndarray
    pairs: int

    @property
    def apart(self) -> np.ndarray:
        """Matrices whose interval excludes 0, (M,) bool: by chance alone one in twenty would."""
        return (self.low > 0) | (self.high < 0)

    @property
    def claimed(self) -> np.ndarray:
        """Those that are also told apart with all matrices in view, (M,) bool."""
        return self.apart & (self.adjusted_p <= 1 - CONFIDENCE)


LEAST = 2


def group_ranks(group: Group) -> GroupRanks:
    """Return the final ranks of the runs of a group that did not fail.

    Raises:
        FlexLoRAError: none is left, or they do not adapt the same matrices.
    """
    runs = {seed: run for seed, run in group.intact().items() if len(run.steps)}
    if not runs:
        raise FlexLoRAError(f"{group.label} has no run with ranks.")
    first = next(iter(runs.values()))
    if any(list(run.places) != list(first.places) for run in runs.values()):
        raise FlexLoRAError(f"The runs of {group.label} do not adapt the same matrices: their ranks have no mean.")
    return GroupRanks(group.label, first.matrices, np.array([final_ranks(run) for run in runs.values()]), list(runs))


def rank_difference(one: GroupRanks, other: GroupRanks, *, seed: int = 0) -> RankDifference:
    """Return the first minus the second, matched by the names of matrices and paired by seed.

    Raises:
        FlexLoRAError: no seed, or no matrix, is in both.
    """
    shared = [key for key in one.seeds if key in other.seeds]
    places = {matrix.name: place for place, matrix in enumerate(other.matrices)}
    own = [place for place, matrix in enumerate(one.matrices) if matrix.name in places]
    if not shared or not own:
        raise FlexLoRAError(f"{one.label} and {other.label} share no {'matrix' if shared else 'seed'}.")
    theirs = [places[one.matrices[place].name] for place in own]
    rows = [[ranks.seeds.index(key) for key in shared] for ranks in (one, other)]
    apart = (one.ranks[rows[0]][:, own] - other.ranks[rows[1]][:, theirs]).astype(np.float64)
    mean, low, high = mean_band(apart, seed=seed)
    adjusted = holm({str(place): sign_flip_p(column, seed=seed) for place, column in enumerate(apart.T)})
    matrices = [one.matrices[place] for place in own]
    return RankDifference(
        one.label, other.label, matrices, mean, low, high, np.array(list(adjusted.values())), len(shared)
    )
