"""Threshold and margin of one matrix at one FlexLoRA event."""

from __future__ import annotations

import math
from dataclasses import dataclass

from analysis.why.ranking import Ranking
from analysis.why.scene import Scene


@dataclass(frozen=True)
class Margin:
    """How far a matrix was from the other decision, everything else as it was.

    Attributes:
        half: ``prune`` or ``extend``, the cut that it is about; None when there is none.
        cut: score of the last matrix that was taken at this end; None = none, or placed by a rule.
        value: distance of scores to ``rival``; None when no score would have changed the decision, or a rule and not a
            score placed one of the two.
        rival: the first matrix on the other side of the cut; None when there is none.
        why_none: why there is no value; empty when there is one.
    """

    half: str | None = None
    cut: float | None = None
    value: float | None = None
    rival: str | None = None
    why_none: str = ""


def margin(at: Scene, order: Ranking, name: str) -> Margin:
    """Return threshold and margin of a matrix.

    Of a moved one: to the first that could have been moved instead. Of one that stayed: to the last that was moved, at
    the end where it was closer.
    """
    if order.used[name] is None:
        return Margin(why_none="it has no score")
    for half, end in order.ends.items():
        if name in end.was:
            if end.left is not None:
                return _between(order, half, name, end.left)
            word = "pruned" if half == "prune" else "extended"
            return Margin(half, _finite(order.used[end.taken[-1]]), why_none=f"every matrix that could be {word} was")
    if not at.event["budget"]:
        return Margin(why_none="at budget 0 no score moves anything")
    if not any(end.taken for end in order.ends.values()):
        return Margin(why_none="nothing was moved at this event")
    found = [
        _between(order, half, name, end.taken[-1])
        for half, end in order.ends.items()
        if end.taken and name in end.could
    ]
    if not found:
        return Margin(why_none="it could not be moved here, whatever its score")
    return min(found, key=lambda each: math.inf if each.value is None else abs(each.value))


def _between(order: Ranking, half: str, name: str, rival: str) -> Margin:
    cut = _finite(order.used[order.ends[half].taken[-1]])
    own, other = _finite(order.used[name]), _finite(order.used[rival])
    if own is None or other is None:
        return Margin(half, cut, None, rival, "a rule and not its score decides which of the two comes first")
    return Margin(half, cut, abs(own - other), rival)


def _finite(score: float | None) -> float | None:
    return score if score is not None and math.isfinite(score) else None
