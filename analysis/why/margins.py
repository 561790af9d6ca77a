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
    for half in ("prune", "extend"):
        if name in at.moved(half):
            return _of_moved(at, order, name, half)
    if not at.event["budget"]:
        return Margin(why_none="at budget 0 no score moves anything")
    if not at.event["prune"] and not at.event["extend"]:
        return Margin(why_none="nothing was moved at this event")
    found = [_to_last(at, order, name, half) for half in ("prune", "extend") if _could(at, order, name, half)]
    if not found:
        return Margin(why_none="it could not be moved here, whatever its score")
    return min(found, key=lambda each: math.inf if each.value is None else abs(each.value))


def _of_moved(at: Scene, order: Ranking, name: str, half: str) -> Margin:
    taken = at.moved(half)
    cut = order.used[taken[-1]]
    rest = [other for other in _eligible(order, half) if other not in set(taken)]
    if not rest:
        word = "pruned" if half == "prune" else "extended"
        return Margin(half, _finite(cut), why_none=f"every matrix that could be {word} was")
    return _between(order, half, cut, name, rest[0])


def _to_last(at: Scene, order: Ranking, name: str, half: str) -> Margin:
    last = at.moved(half)[-1]
    return _between(order, half, order.used[last], name, last)


def _between(order: Ranking, half: str, cut: float | None, name: str, rival: str) -> Margin:
    own, other = _finite(order.used[name]), _finite(order.used[rival])
    if own is None or other is None:
        return Margin(half, _finite(cut), None, rival, "a rule and not its score decides which of the two comes first")
    return Margin(half, _finite(cut), abs(own - other), rival)


def _could(at: Scene, order: Ranking, name: str, half: str) -> bool:
    return bool(at.event[half]) and name in _eligible(order, half)


def _eligible(order: Ranking, half: str) -> list[str]:
    return order.givers if half == "prune" else order.takers


def _finite(score: float | None) -> float | None:
    return score if score is not None and math.isfinite(score) else None
