"""What separates the directions that a method takes from those it leaves: one entry a method that scores directions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from analysis.why.wording import number

SALORA_CLOSED = 1 / 12
"""σ(log α) at or below which a hard-concrete gate is 0 without noise: −γ / (ζ − γ) with γ = −0.1, ζ = 1.1."""


ORDERED, FIXED, FLOOR = "ordered", "fixed", "floor"
"""What a cut is: the score of the last direction taken, a number given beforehand, or where a pull ends."""


class Cut(NamedTuple):
    """Where the line was: its score, None where nothing had to go; what lies on which side; and what kind it is."""

    score: float | None
    told: str
    kind: str = FIXED


def at_or_below(event: Mapping[str, Any]) -> Cut:
    """AdaLoRA, DoRA: everything at or below the k-th smallest score is off, k = directions above the target."""
    score = event.get("threshold")
    if score is None:
        return Cut(None, "no direction is above the target rank, so none has to be off")
    return Cut(score, f"what scores at or below {number(score)} is off", ORDERED)


def share_below(event: Mapping[str, Any]) -> Cut:
    """AutoLoRA: every share below a fixed number is pruned; L1RA: every λ that its pull took below one."""
    return _logged(event, "what is below {} is pruned")


def at_zero(event: Mapping[str, Any]) -> Cut:
    """SoRA: what the pull has taken to 0 is off."""
    pull = event.get("threshold")
    told = "" if pull is None else f"; each step pulls by ξ = {number(pull)}"
    return Cut(0.0, f"what is exactly 0 is off{told}", FLOOR)


def closed_gate(event: Mapping[str, Any]) -> Cut:
    """SaLoRA: a gate that is 0 without noise is off."""
    score = math.log(SALORA_CLOSED / (1 - SALORA_CLOSED))
    return Cut(score, f"log α at or below {number(score)} closes a gate: σ(log α) ≤ 1/12")


def last_pruned(event: Mapping[str, Any]) -> Cut:
    """ElaLoRA: as many of the pool's lowest as the budget holds are pruned."""
    scores = [move["score"] for move in event["prune"] if move.get("score") is not None]
    if not scores:
        return Cut(None, "nothing was pruned at this event")
    return Cut(max(scores), f"pruned up to {number(max(scores))}", ORDERED)


def unknown(event: Mapping[str, Any]) -> Cut:
    """Return the logged threshold of a method that is not known here."""
    return _logged(event, "{}, as logged")


def _logged(event: Mapping[str, Any], told: str) -> Cut:
    score = event.get("threshold")
    return Cut(None, "none was logged") if score is None else Cut(score, told.format(number(score)))


def cut_once(event: Mapping[str, Any]) -> Cut:
    """Train big, then cut: the smallest directions of all matrices together go, until the rest is within the budget."""
    score = event.get("threshold")
    if score is None:
        return Cut(None, "all directions together are within the budget, so none had to go")
    return Cut(score, f"what scores at or below {number(score)} is pruned, once", ORDERED)


CUTS: dict[str, Callable[[Mapping[str, Any]], Cut]] = {
    "adalora": at_or_below,
    "dora_dynamic": at_or_below,
    "l1ra": lambda event: share_below(event)._replace(kind=FLOOR),
    "autolora": share_below,
    "sora": at_zero,
    "salora": closed_gate,
    "elalora": last_pruned,
    "big_then_cut": cut_once,
}
"""Method → f(event) → ``Cut``."""
