"""The adaptive schedule: b(t) decided at each event from what is seen. Torch-free.

The paper fixes b(t) beforehand and leaves open how to choose it. This rule asks at each event two questions:

1. *Does the order mean anything?* Pair k is the k-th least and the k-th most important matrix. Were all matrices
   equally important and only noise told them apart, the k-th lowest and highest of M draws would still differ, by
   2σ · Φ⁻¹(1 - (k - 3/8) / (M + 1/4)) on average (Blom's order statistics). A pair moves when its gap is ``margin``
   times as large, and every pair before it does. σ is seen in how importances change from one event to the next.
2. *Do moves stay?* When more than the share ``churn_limit`` of an event's prunes hit a matrix that was extended within
   the last ``WINDOW`` events, the ceiling on b halves, for good.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import NormalDist
from typing import Any

import numpy as np

from flexlora.reallocation import Scores

WINDOW = 5
"""Events over which noise and churn are seen."""

GAUSS = 1.4826
"""Median absolute deviation → standard deviation, for Gaussian noise."""


@dataclass(frozen=True)
class AdaptiveDecision:
    """Why an event has the budget it has.

    Attributes:
        budget: pairs that move at most.
        ceiling: the most that the rule could have chosen.
        noise: standard deviation σ of one importance from event to event; None while it is unknown.
        gaps: importance of the more important matrix minus that of the less important one, pair by pair.
        thresholds: what each gap had to exceed; empty while the noise is unknown.
        undone: share of the last event's prunes that took back; None when it pruned nothing.
    """

    budget: int
    ceiling: int
    noise: float | None
    gaps: tuple[float, ...]
    thresholds: tuple[float, ...]
    undone: float | None

    def record(self) -> dict[str, Any]:
        """Return what the run log keeps beside the event's budget."""
        kept = {key: value for key, value in vars(self).items() if key != "budget"}
        return {**kept, "gaps": list(self.gaps), "thresholds": list(self.thresholds)}


@dataclass
class AdaptiveSchedule:
    """What the rule remembers from event to event.

    Attributes:
        seen: importance and rank of each matrix at the latest events, oldest first, ``WINDOW`` at most.
        extended: matrix → number of the event that extended it last.
        count: events so far.
        halvings: how often the ceiling has been halved.
        undone: share of the last event's prunes that took back.
    """

    seen: list[dict[str, tuple[float, int]]] = field(default_factory=list)
    extended: dict[str, int] = field(default_factory=dict)
    count: int = 0
    halvings: int = 0
    undone: float | None = None

    def ceiling(self, initial_budget: int) -> int:
        """Return the most that the next event may move."""
        return initial_budget >> self.halvings

    def decide(
        self, importance: Scores, ranks: Mapping[str, int], gaps: Sequence[float], *, initial_budget: int, margin: float
    ) -> AdaptiveDecision:
        """Return the budget of an event; nothing is remembered yet.

        Args:
            importance: matrix → score that the plan uses, None = undefined.
            ranks: matrix → rank.
            gaps: of the pairs that could move, in the order in which they would.
            initial_budget: b0, the ceiling before any halving.
            margin: how many times what noise alone would leave a gap must be.
        """
        ceiling = self.ceiling(initial_budget)
        gaps = tuple(gaps[:ceiling])
        noise = self._noise(_defined(importance, ranks))
        if noise is None:
            return AdaptiveDecision(0, ceiling, None, gaps, (), self.undone)
        number = len(_defined(importance, ranks))
        thresholds = tuple(margin * noise * noise_gap(place, number) for place in range(1, len(gaps) + 1))
        passed = (gap > threshold for gap, threshold in zip(gaps, thresholds, strict=True))
        budget = next((place for place, good in enumerate(passed) if not good), len(gaps))
        return AdaptiveDecision(budget, ceiling, noise, gaps, thresholds, self.undone)

    def observe(
        self,
        importance: Scores,
        ranks: Mapping[str, int],
        prune: Sequence[str],
        extend: Sequence[str],
        *,
        churn_limit: float,
    ) -> None:
        """Remember an event: what it saw, and which matrices it pruned and extended."""
        self.count += 1
        back = [name for name in prune if self.count - self.extended.get(name, -WINDOW - 1) <= WINDOW]
        for name in back:
            self.extended.pop(name, None)
        self.undone = len(back) / len(prune) if prune else None
        self.halvings += self.undone is not None and self.undone > churn_limit
        self.extended |= dict.fromkeys(extend, self.count)
        self.seen = [*self.seen, _defined(importance, ranks)][-WINDOW:]

    def state(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**vars(self), "seen": [{name: list(pair) for name, pair in event.items()} for event in self.seen]}

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> AdaptiveSchedule:
        """Rebuild from ``state``."""
        seen = [{name: (pair[0], pair[1]) for name, pair in event.items()} for event in state["seen"]]
        return cls(**{**state, "seen": seen, "extended": dict(state["extended"])})

    def _noise(self, now: Mapping[str, tuple[float, int]]) -> float | None:
        """σ of one importance, from its changes between events: their variance is 2σ².

        A change of rank moves an importance by itself, so such matrices are left out; so is the change that all
        matrices share, which alters no order.
        """
        changes = []
        for before, after in pairwise([*self.seen, now]):
            own = [
                after[name][0] - score for name, (score, rank) in before.items() if after.get(name, (0, -1))[1] == rank
            ]
            if len(own) > 1:
                changes.append(np.array(own) - np.median(own))
        if not changes:
            return None
        return float(GAUSS * np.median(np.abs(np.concatenate(changes))) / math.sqrt(2))


def noise_gap(place: int, number: int) -> float:
    """Return the mean gap between the ``place``-th lowest and highest of ``number`` standard normals (Blom 1958)."""
    return max(0.0, 2 * NormalDist().inv_cdf(1 - (place - 0.375) / (number + 0.25)))


def _defined(importance: Scores, ranks: Mapping[str, int]) -> dict[str, tuple[float, int]]:
    return {
        name: (value, ranks[name]) for name, value in importance.items() if value is not None and math.isfinite(value)
    }
