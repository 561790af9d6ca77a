"""``Ranking``: the order of one FlexLoRA event, who could give and get, and where the cuts lie."""

from __future__ import annotations

import math
from dataclasses import dataclass

from analysis.runs import Run
from analysis.why.scene import Scene
from flexlora.config import FlexLoRAConfig
from flexlora.decision import Decider, tie_order
from flexlora.reallocation import DECIMALS, plan_overlapping

LOWEST, HIGHEST = "lowest", "highest"


@dataclass(frozen=True)
class Ranking:
    """What decided one event.

    Attributes:
        own: name → importance as measured; None = undefined or not logged.
        used: name → score that the plan used, rules applied; None = takes no part, inf = first.
        order: names with a score, lowest first, equal scores in the order that the event drew.
        position: name → place in ``order`` from 0.
        givers: who could be pruned, the first to go first.
        takers: who could be extended, the first to get first.
        kept: name → why it could not be pruned.
        full: name → why it could not be extended.
        protection: name → (step of its last extension, last step at which that protects it); the protected only.
    """

    own: dict[str, float | None]
    used: dict[str, float | None]
    order: list[str]
    position: dict[str, int]
    givers: list[str]
    takers: list[str]
    kept: dict[str, str]
    full: dict[str, str]
    protection: dict[str, tuple[int, int]]

    def place(self, name: str, end: str | None = None) -> tuple[int, str] | None:
        """Return the place of a matrix from one end, or from the nearer one; None without a score."""
        if name not in self.position:
            return None
        low = self.position[name] + 1
        high = len(self.order) - self.position[name]
        end = end or (LOWEST if low <= high else HIGHEST)
        return (low if end == LOWEST else high), end

    def same(self, one: str, other: str) -> bool:
        """Return whether two scores count as equal."""
        return self.rounded(one) == self.rounded(other)

    def rounded(self, name: str) -> float:
        """Return a score as the plan compares it."""
        score = self.used[name]
        return math.nan if score is None else round(score, DECIMALS)


def ranking(run: Run, at: Scene, config: FlexLoRAConfig | None) -> Ranking:
    """Return the order of an event, from its logged scores and the rules in force.

    Without a readable configuration equal scores stand in the header's order, and of the rules only those of rank 1,
    of a matrix's size and of what the event says it refused are known.
    """
    event = at.event
    logged = event["importance"].get(event["measure"]) or {}
    own = {name: logged.get(name) for name in at.names}
    used = dict(own)
    for name, value in event.get("decided", {}).items():
        if name in used:
            used[name] = math.inf if value == "first" else value
    limits, protection, drawn = dict(at.limits), {}, at.names
    refused = event.get("refused", {})
    protected = frozenset(name for name, reason in refused.items() if reason == "protected")
    if config is not None:
        decider = Decider({name: step for name, step in _extended(run, at.number).items() if name in at.index})
        protected = decider.protected(at.step, config)
        window = config.protection * (config.interval or 1)
        protection = {name: (decider.extended_at[name], decider.extended_at[name] + window) for name in protected}
        drawn = tie_order(at.names, at.step, config)
        if config.max_rank:
            limits = {name: min(limits.get(name, config.max_rank), config.max_rank) for name in at.names}
    full_limits = {name: limits.get(name, at.ranks[name] + 1) for name in at.names}
    # With a budget for all, each half of the released code's plan is everybody who qualifies, in order.
    halves = [
        plan_overlapping(
            used,
            at.ranks,
            len(at.names),
            direction=direction,
            max_rank=full_limits,
            protected=protected,
            tie_order=drawn,
        )
        for direction in ("prune_only", "extend_only")
    ]
    position = {name: place for place, name in enumerate(drawn)}
    scored = {name: round(score, DECIMALS) for name, score in used.items() if score is not None}
    order = sorted(scored, key=lambda name: (scored[name], position[name]))
    return Ranking(
        own=own,
        used=used,
        order=order,
        position={name: place for place, name in enumerate(order)},
        givers=list(halves[0].prune),
        takers=list(halves[1].extend),
        kept=dict(halves[0].refused),
        full=dict(halves[1].refused),
        protection=protection,
    )


def _extended(run: Run, number: int) -> dict[str, int]:
    """Return name → step at which it was extended last before an event."""
    return {move["matrix"]: int(earlier["step"]) for earlier in run.events[:number] for move in earlier["extend"]}
