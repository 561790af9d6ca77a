"""What spectra of adapters usually look like, so that a number has something to stand beside.

``atlas.json`` is made by ``benchmarks/make_atlas.py``. It is of small models: MiniLM (22 million parameters) and a toy
vision transformer, adapted for 100 steps each. It says what is common there, not what is good, and nothing about what
a large model needs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from analysis.adapters.atlas.quantities import OF_A_MATRIX, concentration, entry_size, measured, of_adapter

FILE = Path(__file__).parent / "atlas.json"
KINDS: dict[str, str] = {
    "real": "trained on true labels, and learned",
    "shuffled": "trained on shuffled labels",
    "failed": "trained on true labels at too high a rate, and learned nothing",
    "random": "Gaussian factors, never trained",
}
"""Kind → what its adapters are."""
ENOUGH = 4
"""Adapters below which a group says nothing about a new one: 2 or 3 of one task are each other's neighbours."""
NEAR = 2
"""Ratio of two ranks up to which spectra are held side by side."""
MODELS = {"words": "MiniLM", "digits": "a toy vision transformer"}
"""Task of the Lab → the model that was adapted."""


@dataclass(frozen=True)
class Group:
    """Adapters of one kind and rank.

    Attributes:
        kind: key of ``KINDS``.
        rank: r; 0 = all ranks.
        adapters: how many.
        matrices: how many, over all of them.
        of_a_matrix: quantity → its values at the atlas's levels.
        of_an_adapter: the same, of whole adapters.
    """

    kind: str
    rank: int
    adapters: int
    matrices: int
    of_a_matrix: Mapping[str, Sequence[float]]
    of_an_adapter: Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Atlas:
    """Quantiles of each quantity in groups of adapters.

    Attributes:
        levels: percentages at which quantiles are given, ascending from 0 to 100.
        groups: one a kind and rank.
        pooled: one a kind, over all ranks, of what does not depend on the rank.
        weights: task → least, middle and largest root mean square of the weights that its adapters change.
        cosines: kind → quantiles of the cosine between ΔW of two adapters of one model and task.
        runs: what was trained: kind, task, method, rank, rate, accuracy, majority.
    """

    levels: tuple[float, ...]
    groups: tuple[Group, ...]
    pooled: tuple[Group, ...]
    weights: Mapping[str, Sequence[float]]
    cosines: Mapping[str, Sequence[float]]
    runs: tuple[Mapping[str, Any], ...]

    def what_it_is(self) -> str:
        """Return of what the atlas is, in a phrase."""
        models = " and ".join(dict.fromkeys(MODELS[run["task"]] for run in self.runs))
        ranks = sorted({run["rank"] for run in self.runs})
        learned = sum(run["kind"] == "real" for run in self.runs)
        return f"{learned} adapters that learned, of small models ({models}), r = {ranks[0]} to {ranks[-1]}"

    def group(self, rank: int, kind: str = "real") -> Group:
        """Return the group of a kind whose rank is nearest, as a ratio; rank 0 is that of all ranks."""
        own = [group for group in (self.groups if rank else self.pooled) if group.kind == kind]
        return min(own, key=lambda group: abs(np.log(max(1, group.rank) / max(1, rank))))

    def large_enough(self, rank: int) -> Group | None:
        """Return the group that learned nearest to a rank, of ``ENOUGH`` adapters or more; None where none is near."""
        own = [group for group in self.groups if group.kind == "real" and group.adapters >= ENOUGH]
        near = [group for group in own if max(group.rank, rank) <= NEAR * min(group.rank, rank)]
        return min(near, key=lambda group: abs(np.log(group.rank / rank)), default=None)

    def quantile(self, quantity: str, rank: int, level: float, kind: str = "real") -> float:
        """Return the value below which ``level`` % of a group lie; ``quantity`` of a matrix or of an adapter."""
        return float(np.interp(level, self.levels, self._values(self.group(rank, kind), quantity)))

    def percentile(self, quantity: str, value: float, rank: int, kind: str = "real") -> float:
        """Return how many percent of a group lie below ``value``, 0 to 100, between quantiles in a line."""
        values = np.asarray(self._values(self.group(rank, kind), quantity), np.float64)
        below = float(np.interp(value, values, self.levels, left=0.0, right=100.0))
        # Equal quantiles: the middle of their levels.
        equal = [level for level, own in zip(self.levels, values, strict=True) if own == value]
        return float(np.mean(equal)) if equal else below

    @staticmethod
    def _values(group: Group, quantity: str) -> Sequence[float]:
        return group.of_a_matrix[quantity] if quantity in group.of_a_matrix else group.of_an_adapter[quantity]


@cache
def load_atlas() -> Atlas:
    """Return the shipped atlas."""
    found = json.loads(FILE.read_text(encoding="utf-8"))
    return Atlas(
        tuple(found["about"]["levels"]),
        tuple(Group(**group) for group in found["groups"]),
        tuple(Group(**group) for group in found["pooled"]),
        found["about"]["weights"],
        found["cosines"],
        tuple(found["runs"]),
    )


__all__ = [
    "KINDS",
    "OF_A_MATRIX",
    "Atlas",
    "Group",
    "concentration",
    "entry_size",
    "load_atlas",
    "measured",
    "of_adapter",
]
