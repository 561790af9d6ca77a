"""Which rules acted on one matrix at one FlexLoRA event, each in a plain sentence."""

from __future__ import annotations

import numpy as np

from analysis.why.ranking import Ranking
from analysis.why.scene import Scene
from analysis.why.wording import number, rule
from flexlora.config import FlexLoRAConfig
from flexlora.importance import GRADIENTS, IMPORTANCES, measure_label, silent_at_rank_one

MOVE_RULES: dict[str, str] = {
    "grown": "Every place in the storage of this matrix was taken: it grew, and the optimizer's state with it.",
    "masked": "A direction was switched off: it stays stored and may come back.",
    "revived": "A direction that was off came back.",
    "rotated": "Before the cut every ΔW was written by its singular vectors: its λ, times s, were its spectrum then.",
    "restarted": "After this event training began anew with the ranks that were left.",
}
"""Rule of a move → what it did."""

RANK_ONE: dict[str, str] = {
    "one": "it counts as 1, the highest",
    "zero": "it counts as 0, the lowest",
    "undefined": "it takes no part",
    "first": "it comes before all others",
}
"""Value of ``rank_one`` → what it makes of a matrix of rank 1; ``median`` is told with its number."""


def matrix_rules(at: Scene, order: Ranking, config: FlexLoRAConfig | None, name: str) -> list[dict[str, str]]:
    """Return the rules that acted on a matrix, or that stopped the event for all."""
    reason = at.event.get("refused", {}).get(name)
    return [
        *_undefined(at, order, name),
        *_rank_one(at, order, config, name),
        *([rule(reason, f"Passed over: {refusal(at, order, name, reason)}.")] if reason else []),
        *_ties(at, order, config, name),
        *_stop(at, order, config),
        *move_rules(at, name),
    ]


def move_rules(at: Scene, name: str) -> list[dict[str, str]]:
    """Return the rules that the moves of a matrix carry, and those of the whole event."""
    own = [each for half in ("prune", "extend") for move in at.moves(half, name) for each in move.get("rules", [])]
    whole = [each for each in at.event.get("rules", []) if each in ("restarted", "rotated")]
    return [rule(each, MOVE_RULES[each]) for each in dict.fromkeys([*own, *whole]) if each in MOVE_RULES]


def why_undefined(at: Scene, name: str) -> str:
    """Return why a measure says nothing about a matrix."""
    measure = at.event["measure"]
    if name not in (at.event["importance"].get(measure) or {}):
        return f"no {measure_label(measure)} was logged for it"
    if at.lam is None:
        return f"its {measure_label(measure)} is undefined"
    values = at.lam[name]
    if not np.isfinite(values).all():
        return "a λ is not finite"
    if not len(values):
        return "it has no direction"
    if measure in IMPORTANCES and IMPORTANCES[measure].scores == GRADIENTS:
        return "its λ had no gradient in this step"
    return f"its {measure_label(measure)} is undefined" if values.any() else "every λ is 0"


def _undefined(at: Scene, order: Ranking, name: str) -> list[dict[str, str]]:
    if order.own[name] is not None:
        return []
    reason = why_undefined(at, name)
    first = order.used[name] is not None
    told = "so all_zero = first puts it before all others" if first else "so it takes no part"
    return [rule("undefined", f"{reason[0].upper()}{reason[1:]}: nothing can be said about it, {told}.")]


def _rank_one(at: Scene, order: Ranking, config: FlexLoRAConfig | None, name: str) -> list[dict[str, str]]:
    if at.ranks[name] != 1 or not silent_at_rank_one(at.event["measure"]) or order.own[name] is None:
        return []
    start = "Rank 1: log 1 = 0, so entropy has no value"
    if config is None:
        return [rule("rank_one", f"{start}.")]
    score = order.used[name]
    if config.rank_one == "median":
        told = (
            "there are no others to take a median of" if score is None else f"the median of the others: {number(score)}"
        )
        return [rule("rank_one", f"{start}; rank_one = median gives it {told}.")]
    return [rule("rank_one", f"{start}; by rank_one = {config.rank_one} {RANK_ONE[config.rank_one]}.")]


def refusal(at: Scene, order: Ranking, name: str, reason: str) -> str:
    """Return why a matrix was passed over, in words."""
    if reason == "rank_1":
        return "it has rank 1, and a matrix keeps one direction"
    if reason == "at_max_rank":
        return f"rank {at.ranks[name]} is the most it may have"
    if reason == "protected" and name in order.protection:
        since, until = order.protection[name]
        return f"it was extended at step {since}, which protects it up to step {until}"
    return "it was extended too lately" if reason == "protected" else reason.replace("_", " ")


def _ties(at: Scene, order: Ranking, config: FlexLoRAConfig | None, name: str) -> list[dict[str, str]]:
    """A tie acts where the last matrix taken and the first one left have the same score, and this one has it too."""
    found = []
    for half, word in (("prune", "pruned"), ("extend", "extended")):
        end = order.ends[half]
        if name not in end.could or not end.taken or end.left is None:
            continue
        if not order.same(end.taken[-1], end.left) or not order.same(name, end.left):
            continue
        equal = [each for each in end.able if order.same(each, name)]
        count = sum(each in end.was for each in equal)
        how = "a draw"
        if config is not None:
            drawn = f"a draw from seed {config.seed} and step {at.step}"
            how = drawn if config.plan == "disjoint" else "the order of the modules"
        places = "1 place" if count == 1 else f"{count} places"
        told = f"{len(equal)} matrices that could be {word} have this score, for {places}: {how} settled it."
        found.append(rule("tie", told))
    return found


def next_pair(at: Scene, order: Ranking, config: FlexLoRAConfig | None) -> tuple[str, str] | None:
    """Return the pair (to prune, to extend) that stopped the disjoint plan before its budget; None = it went on."""
    if config is None or config.plan != "disjoint" or config.direction != "both":
        return None
    count = len(at.event["prune"])
    givers, takers = order.ends["prune"].able, order.ends["extend"].able
    if count >= at.event["budget"] or count >= min(len(givers), len(takers)):
        return None
    low, high = givers[count], takers[count]
    return None if order.rounded[low] < order.rounded[high] else (low, high)


def _stop(at: Scene, order: Ranking, config: FlexLoRAConfig | None) -> list[dict[str, str]]:
    pair = next_pair(at, order, config)
    if pair is None:
        return []
    low, high = pair
    start = f"Pairs stop after {len(at.event['prune'])} of {at.event['budget']}: "
    if low == high:
        return [rule("disjoint", f"{start}{at.labels[low]} would be the next to give and the next to get.")]
    if order.same(low, high):
        return [rule("tie", f"{start}the next two, {at.labels[low]} and {at.labels[high]}, have the same score.")]
    return [
        rule("disjoint", f"{start}{at.labels[low]}, the next to give, is not below {at.labels[high]}, the next to get.")
    ]
