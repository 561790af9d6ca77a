"""``Ranking``: the order of one FlexLoRA event, who could give and get, and where the cuts lie."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from operator import itemgetter

from analysis.runs import Run
from analysis.why.scene import Scene
from flexlora.config import FlexLoRAConfig
from flexlora.decision import Decider, tie_order
from flexlora.reallocation import DECIMALS, Limits, Scores, plan_overlapping

LOWEST, HIGHEST = "lowest", "highest"


@dataclass(frozen=True)
class End:
    """One end of the order: who could be taken there, and who was.

    Attributes:
        able: who could be, the first to be taken first.
        barred: name → why not.
        taken: who was, in the order of choice.
        left: the first of ``able`` that was not; None when all were.
        passed: (n + 1,) how many of the first k of the order from this end were barred.
    """

    able: list[str]
    barred: dict[str, str]
    taken: list[str]
    left: str | None
    passed: list[int]

    @cached_property
    def could(self) -> frozenset[str]:
        """Who could be taken."""
        return frozenset(self.able)

    @cached_property
    def was(self) -> frozenset[str]:
        """Who was taken."""
        return frozenset(self.taken)


@dataclass(frozen=True)
class Ranking:
    """What decided one event.

    Attributes:
        own: name → importance as measured; None = undefined or not logged.
        used: name → score that the plan used, rules applied; None = takes no part, inf = first.
        rounded: name → score as the plan compares it, of those that have one.
        order: names with a score, lowest first, equal scores in the order that the event drew.
        ends: ``prune`` and ``extend`` → that end of the order.
        protection: name → (step of its last extension, last step at which that protects it); the protected only.
    """

    own: dict[str, float | None]
    used: dict[str, float | None]
    rounded: dict[str, float]
    order: list[str]
    ends: dict[str, End]
    protection: dict[str, tuple[int, int]]

    @cached_property
    def position(self) -> dict[str, int]:
        """Name → place in ``order`` from 0."""
        return {name: place for place, name in enumerate(self.order)}

    @cached_property
    def sharing(self) -> Counter[float]:
        """Rounded score → how many matrices have it."""
        return Counter(self.rounded.values())

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
        return one in self.rounded and self.rounded[one] == self.rounded.get(other)


def in_order(scores: Scores, drawn: Sequence[str]) -> dict[str, float]:
    """Return the defined scores as a plan compares them, least first, and equal ones as ``drawn``."""
    known = {name: round(score, DECIMALS) for name in drawn if (score := scores.get(name)) is not None}
    return dict(sorted(known.items(), key=itemgetter(1)))


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
        moves = [(move["matrix"], int(each["step"])) for each in run.events[: at.number] for move in each["extend"]]
        decider = Decider({name: step for name, step in moves if name in at.index})
        protected = decider.protected(at.step, config)
        window = config.protection * (config.interval or 1)
        protection = {name: (decider.extended_at[name], decider.extended_at[name] + window) for name in protected}
        drawn = tie_order(at.names, at.step, config)
        if config.max_rank:
            limits = {name: min(limits.get(name, config.max_rank), config.max_rank) for name in at.names}
    full_limits = {name: limits.get(name, at.ranks[name] + 1) for name in at.names}
    rules = Limits(max_rank=full_limits, protected=protected, tie_order=drawn)
    # With a budget for all, each half of the released code's plan is everybody who qualifies, in order.
    halves = [
        plan_overlapping(used, at.ranks, len(at.names), direction=direction, **rules)
        for direction in ("prune_only", "extend_only")
    ]
    rounded = in_order(used, drawn)
    order = list(rounded)
    prune = _end(at.moved("prune"), list(halves[0].prune), dict(halves[0].refused), order)
    extend = _end(at.moved("extend"), list(halves[1].extend), dict(halves[1].refused), order[::-1])
    return Ranking(own, used, rounded, order, {"prune": prune, "extend": extend}, protection)


def _end(taken: list[str], able: list[str], barred: dict[str, str], order: list[str]) -> End:
    was = set(taken)
    left = next((name for name in able if name not in was), None)
    passed = [0, *accumulate(int(name in barred) for name in order)]
    return End(able, barred, taken, left, passed)
