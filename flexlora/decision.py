"""``Decider``: one event's decision from importances and ranks, with what it must remember. Torch-free.

Training and replay share it: the same numbers give the same decision.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from flexlora.adaptive import AdaptiveDecision, AdaptiveSchedule
from flexlora.config import FlexLoRAConfig
from flexlora.counter import key_of, permutation
from flexlora.importance import silent_at_rank_one, undefined_at_zero
from flexlora.reallocation import PLANS, Limits, Reallocation, Scores, pair_gaps
from flexlora.schedules import ADAPTIVE


@dataclass(frozen=True)
class Decision:
    """What an event will do, and from which numbers.

    Attributes:
        plan: which matrices give and which get.
        importance: matrix → score that the plan used, rules applied; None = undefined, inf = before all others.
        budget: b, the most that the plan could move.
        adaptive: why the budget is what it is; None unless the schedule is adaptive.
    """

    plan: Reallocation
    importance: dict[str, float | None]
    budget: int
    adaptive: AdaptiveDecision | None = None


@dataclass
class Decider:
    """Decides events in order.

    Attributes:
        extended_at: matrix → step at which it was extended last.
        adaptive: memory of the adaptive schedule; kept under every schedule, as one may be changed while training.
    """

    extended_at: dict[str, int] = field(default_factory=dict)
    adaptive: AdaptiveSchedule = field(default_factory=AdaptiveSchedule)

    def decide(
        self,
        t: int,
        own: Scores,
        ranks: Mapping[str, int],
        limits: Mapping[str, int],
        config: FlexLoRAConfig,
        budget: int | None = None,
    ) -> Decision:
        """Return the decision of the event at step t; nothing is remembered yet.

        ``own`` is matrix → score by the configured importance, None = undefined, in module order; ``ranks`` is matrix →
        rank, and ``limits`` matrix → the largest rank it can have. ``budget`` stands in for the schedule's.
        """
        scores = ruled_importance(own, ranks, config)
        highest = {name: min(limit, config.max_rank or limit) for name, limit in limits.items()}
        order = tie_order(list(ranks), t, config)
        rules = Limits(max_rank=highest, protected=self.protected(t, config), tie_order=order)
        adaptive = None
        if budget is None:
            budget = config.budget(t)
            if config.schedule == ADAPTIVE:
                gaps = pair_gaps(scores, ranks, **rules)
                adaptive = self.adaptive.decide(
                    scores, ranks, gaps, initial_budget=budget, margin=config.adaptive_margin
                )
                budget = adaptive.budget
        plan = PLANS[config.plan](scores, ranks, budget, direction=config.direction, **rules)
        return Decision(plan, scores, budget, adaptive)

    def ceiling(self, t: int, config: FlexLoRAConfig) -> int:
        """Return b(t); of the adaptive schedule, the most that it may decide."""
        budget = config.budget(t)
        return self.adaptive.ceiling(budget) if config.schedule == ADAPTIVE else budget

    def observe(
        self,
        t: int,
        importance: Scores,
        ranks: Mapping[str, int],
        prune: Sequence[str],
        extend: Sequence[str],
        config: FlexLoRAConfig,
    ) -> None:
        """Remember what an event did, as decided here or as a log says."""
        self.extended_at |= dict.fromkeys(extend, t)
        self.adaptive.observe(importance, ranks, prune, extend, churn_limit=config.adaptive_churn)

    def state(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"extended_at": self.extended_at, "adaptive": self.adaptive.state()}

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> Decider:
        """Rebuild from ``state``."""
        return cls(dict(state["extended_at"]), AdaptiveSchedule.restored(state["adaptive"]))

    def protected(self, t: int, config: FlexLoRAConfig) -> frozenset[str]:
        """Return the matrices that an event at step t may not prune: they were extended too lately."""
        window = config.protection * (config.interval or 1)
        return frozenset(name for name, step in self.extended_at.items() if window and t - step <= window)


def ruled_importance(own: Scores, ranks: Mapping[str, int], config: FlexLoRAConfig) -> dict[str, float | None]:
    """Apply the rules for matrices about which a measure says nothing: rank 1 and λ = 0.

    What has no score for another reason, such as a λ without a gradient, stays undefined.
    """
    decided: dict[str, float | None] = dict(own)
    if config.all_zero == "first" and undefined_at_zero(config.measure):
        decided.update({name: math.inf for name, value in own.items() if value is None})
    if not silent_at_rank_one(config.measure) or config.rank_one == "one":
        return decided
    alone = [name for name, rank in ranks.items() if rank == 1 and own[name] is not None]
    others = [value for name, value in own.items() if value is not None and ranks[name] > 1]
    median = float(np.median(others)) if others else None
    replaced = {"zero": 0.0, "undefined": None, "median": median, "first": math.inf}[config.rank_one]
    return {**decided, **dict.fromkeys(alone, replaced)}


def tie_order(names: list[str], t: int, config: FlexLoRAConfig) -> list[str]:
    """Return the order that settles equal importances at step t: seeded, or module order as the released code has it.

    Module order would look like a finding about depth.
    """
    if config.plan != "disjoint":
        return names
    if config.draws == "counter":
        return [names[index] for index in permutation(key_of(config.seed, "ties", t), len(names))]
    return [names[index] for index in np.random.default_rng([config.seed, t]).permutation(len(names))]
