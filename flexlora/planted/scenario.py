"""Scenarios: how many directions of which energy the teacher changes in each matrix."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flexlora.allocation import largest_first, share_out
from flexlora.counter import key_of, permutation
from flexlora.errors import FlexLoRAError

AMPLITUDE = 1.0
"""e₀: size of a direction where a scenario does not say otherwise."""

PROFILES: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "flat": np.ones_like,
    "geometric": lambda place: 0.75**place,
    "spike": lambda place: np.where(place == 0, 1.0, 0.25),
}
"""Profile → f(place of a direction from 0, (r,)) → its size as a share of the first's."""


@dataclass(frozen=True)
class Truth:
    """What the teacher changes: ΔW* of each of M matrices, in module order.

    Attributes:
        ranks: r*, directions.
        energies: e, size of the first direction.
        profiles: key of ``PROFILES``: how the sizes of the others follow.
    """

    ranks: tuple[int, ...]
    energies: tuple[float, ...]
    profiles: tuple[str, ...]

    def sizes(self, matrix: int) -> NDArray[np.float64]:
        """Return the singular values of ΔW* of one matrix, (r*,) descending."""
        places = np.arange(self.ranks[matrix], dtype=np.float64)
        return self.energies[matrix] * PROFILES[self.profiles[matrix]](places)


@dataclass(frozen=True)
class _Kind:
    """One matrix of a scenario's cycle: its rank as a multiple of the mean, its energy as one of e₀, its profile."""

    rank: float
    energy: float
    profile: str = "flat"


_SHARES = (0.25, 0.25, 0.5, 1.0, 1.5, 2.5)

SCENARIOS: dict[str, tuple[_Kind, ...]] = {
    # Σσ² rises with the rank, and so does σ.
    "agree": tuple(_Kind(share, math.sqrt(share)) for share in _SHARES),
    # Few directions carry much, many carry little: Σσ² falls with the rank.
    "disagree": tuple(_Kind(share, share**-0.6) for share in _SHARES),
    # The matrices that need rank have one direction with most of the energy; those that do not are flat and weak.
    "spike": (*(_Kind(0.5, 0.25),) * 4, *(_Kind(2.0, 2.0, "spike"),) * 2),
    "uniform": (_Kind(1.0, 1.0),),
}
"""Name → the kinds that are dealt to the matrices in turn; the seed draws which matrix is dealt first."""


def truth_of(
    scenario: str, matrices: int, mean_rank: int, largest: int, seed: int, profile: str | None = None
) -> Truth:
    """Return the truth of a scenario.

    Args:
        scenario: key of ``SCENARIOS``; or painted by hand, one ``rank`` or ``rank:energy`` a matrix in module order,
            such as ``1,1,4:0.5,...``, with flat spectra.
        matrices: how many there are.
        mean_rank: r* of a matrix on average; of no meaning where ranks are painted.
        largest: the largest rank that a matrix can have.
        seed: draws which matrix is of which kind.
        profile: key of ``PROFILES`` for all matrices; None = the scenario's own.

    Raises:
        FlexLoRAError: an unknown name, a list of another length, or a rank or energy that cannot be.
    """
    if profile is not None and profile not in PROFILES:
        raise FlexLoRAError(f"Unknown profile {profile!r}. Choose one of: {', '.join(PROFILES)}.")
    if scenario not in SCENARIOS:
        ranks, energies = _painted(scenario, matrices, largest)
        return Truth(ranks, energies, (profile or "flat",) * matrices)
    if not 1 <= mean_rank <= largest:
        raise FlexLoRAError(f"true_rank={mean_rank} must be from 1 to {largest}, the width of the network.")
    cycle = SCENARIOS[scenario]
    dealt: list[_Kind] = [cycle[0]] * matrices
    for place, matrix in enumerate(permutation(key_of(seed, "scenario"), matrices).tolist()):
        dealt[matrix] = cycle[place % len(cycle)]
    ranks = share_out([kind.rank for kind in dealt], mean_rank * matrices, [largest] * matrices)
    energies = tuple(AMPLITUDE * kind.energy for kind in dealt)
    return Truth(tuple(ranks), energies, tuple(profile or kind.profile for kind in dealt))


def oracle_ranks(truth: Truth, budget: int, largest: int) -> list[int]:
    """Return the ranks that an all-knowing allocator gives a budget: the true ones where they fit it exactly.

    With fewer directions than the truth has, the largest stay; what is over goes one each, in module order. Each matrix
    gets at least one and at most ``largest``.

    Raises:
        FlexLoRAError: a budget that cannot be given.
    """
    count = len(truth.ranks)
    sizes = {str(matrix): truth.sizes(matrix) for matrix in range(count)}
    return list(largest_first(sizes, budget, dict.fromkeys(sizes, largest)).values())


def _painted(text: str, matrices: int, largest: int) -> tuple[tuple[int, ...], tuple[float, ...]]:
    parts = [part.strip() for part in text.strip("[] ").split(",")]
    if len(parts) == 1 and not parts[0][:1].isdigit():
        raise FlexLoRAError(
            f"Unknown scenario {text!r}. Choose one of: {', '.join(SCENARIOS)}; or paint one: {matrices} ranks, "
            "such as 1,1,4,8:0.5,..."
        )
    if len(parts) != matrices:
        raise FlexLoRAError(f"The painted scenario has {len(parts)} ranks; the network has {matrices} matrices.")
    ranks, energies = [], []
    for part in parts:
        rank, _, energy = part.partition(":")
        try:
            ranks.append(int(rank))
            energies.append(float(energy) if energy else AMPLITUDE)
        except ValueError:
            raise FlexLoRAError(f"{part!r} is not RANK or RANK:ENERGY, such as 4 or 4:0.5.") from None
        if not 1 <= ranks[-1] <= largest or not 0 <= energies[-1] < math.inf:
            raise FlexLoRAError(f"{part!r}: a rank is from 1 to {largest}, an energy at least 0.")
    return tuple(ranks), tuple(energies)
