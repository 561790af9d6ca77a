"""The plan: which matrices give a direction and which get one, as a pure function of scores and ranks."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypedDict, Unpack

from flexlora.errors import FlexLoRAError

DIRECTIONS = ("both", "prune_only", "extend_only")
"""What an event may do."""

DECIMALS = 9
"""Importances are compared after rounding: what differs only by the order of a sum counts as a tie."""


Scores = Mapping[str, float | None]


class Limits(TypedDict, total=False):
    """What keeps a matrix from being chosen, and what settles ties, as in ``plan_reallocation``."""

    max_rank: int | Mapping[str, int] | None
    protected: Collection[str]
    tie_order: Sequence[str] | None


@dataclass(frozen=True)
class Reallocation:
    """One event's decision.

    Attributes:
        prune: names of the matrices that lose one direction, in the order of choice (least important first).
        extend: names of the matrices that gain one, in the order of choice (most important first).
        budget: the most that each half could hold.
        refused: name → ``at_max_rank``, ``rank_1`` or ``protected``: matrices that were passed over while choosing.
        rules: which of ``tie``, ``disjoint``, ``refused``, ``protected``, ``undefined`` shaped the decision.
    """

    prune: tuple[str, ...] = ()
    extend: tuple[str, ...] = ()
    budget: int = field(default=0, compare=False)
    refused: Mapping[str, str] = field(default_factory=dict, compare=False)
    rules: tuple[str, ...] = field(default=(), compare=False)


def plan_reallocation(
    importance: Mapping[str, float | None],
    ranks: Mapping[str, int],
    budget: int,
    *,
    direction: str = "both",
    max_rank: int | Mapping[str, int] | None = None,
    protected: Collection[str] = frozenset(),
    tie_order: Sequence[str] | None = None,
) -> Reallocation:
    """Choose the least important matrices to prune and as many of the most important to extend.

    Matrices of defined importance are sorted by (importance, tie order). Prune candidates are taken from the front,
    extend candidates from the back. ``both`` moves the largest number k ≤ budget of pairs for which every pruned matrix
    is strictly less important than every extended one, so the two sets never share a matrix and the total rank is
    conserved. The paper's rule, b lowest and b highest, is the same wherever it is well defined.

    Args:
        importance: name → score; None or NaN = undefined: such a matrix neither gives nor gets.
        ranks: name → number of active directions; a matrix of rank 1 is never pruned.
        budget: the most directions that may be pruned, and the most that may be extended.
        direction: ``both``, ``prune_only`` or ``extend_only``; a single half takes the first min(budget, candidates).
        max_rank: a matrix at this rank is not extended; one number, or name → number; None = no limit.
        protected: names that are not pruned this time.
        tie_order: all names, in the order that settles equal importances; None = the order of ``importance``.

    Returns:
        The plan; the arguments are left untouched.

    Raises:
        FlexLoRAError: a negative budget, an unknown direction, or names that do not match.
    """
    asked = _Request(importance, ranks, budget, direction, max_rank, protected, tie_order)
    givers, takers = asked.givers(), asked.takers()
    if direction != "both":
        (givers if direction == "prune_only" else takers).take(budget)
        return asked.plan(givers, takers)
    pairs = list(zip(givers.eligible, takers.eligible, strict=False))[:budget]
    # Givers rise and takers fall, so once a pair is refused every later one is.
    count = sum(asked.score[low] < asked.score[high] for low, high in pairs)
    for half in (givers, takers):
        half.take(count, looked=min(count + 1, budget))
    if count == len(pairs):
        return asked.plan(givers, takers)
    low, high = pairs[count]
    return asked.plan(givers, takers, "tie" if low != high and asked.score[low] == asked.score[high] else "disjoint")


def plan_overlapping(
    importance: Scores, ranks: Mapping[str, int], budget: int, *, direction: str = "both", **limits: Unpack[Limits]
) -> Reallocation:
    """Choose as the released code does: the two halves do not know of each other.

    The ``budget`` least important matrices of rank > 1 are pruned and the ``budget`` most important ones extended. One
    matrix may be in both, which swaps a trained direction for an empty one, and the halves may differ in size. Where
    the released code stops with an error because fewer than ``budget`` matrices qualify, all that qualify are taken.

    Args, result and errors are those of ``plan_reallocation``.
    """
    asked = _Request(importance, ranks, budget, direction, **limits)
    givers, takers = asked.givers(), asked.takers()
    if direction != "extend_only":
        givers.take(budget)
    if direction != "prune_only":
        takers.take(budget)
    return asked.plan(givers, takers)


def pair_gaps(importance: Scores, ranks: Mapping[str, int], **limits: Unpack[Limits]) -> list[float]:
    """Return importance taken minus importance given of each pair that ``plan_reallocation`` could move, first to last.

    Args and errors are those of ``plan_reallocation``. Infinite scores give infinite gaps.
    """
    asked = _Request(importance, ranks, 0, "both", **limits)
    pairs = zip(asked.givers().eligible, asked.takers().eligible, strict=False)
    return [gap for low, high in pairs if (gap := asked.score[high] - asked.score[low]) > 0]


PLANS: dict[str, Callable[..., Reallocation]] = {"disjoint": plan_reallocation, "overlapping": plan_overlapping}
"""Plan name → f(importance, ranks, budget, direction=, max_rank=, protected=, tie_order=) → ``Reallocation``."""


class _Half:
    """One end of the order: who may be taken, who must be passed over, and who is taken."""

    def __init__(self, order: Sequence[str], refusal: Callable[[str], str | None]) -> None:
        self.reasons = [(name, refusal(name)) for name in order]
        self.eligible = [name for name, reason in self.reasons if reason is None]
        self.taken: tuple[str, ...] = ()
        self.refused: dict[str, str] = {}

    def take(self, count: int, looked: int | None = None) -> None:
        """Take the first ``count`` eligible; those passed over up to the ``looked``-th eligible one are refused."""
        self.taken = tuple(self.eligible[:count])
        seen = 0
        for name, reason in self.reasons:
            if seen >= (count if looked is None else looked):
                break
            if reason is None:
                seen += 1
            else:
                self.refused[name] = reason


class _Request:
    """Checked arguments of one plan, in the order that both halves share."""

    def __init__(
        self,
        importance: Scores,
        ranks: Mapping[str, int],
        budget: int,
        direction: str,
        max_rank: int | Mapping[str, int] | None = None,
        protected: Collection[str] = frozenset(),
        tie_order: Sequence[str] | None = None,
    ) -> None:
        if budget < 0:
            raise FlexLoRAError(f"budget={budget} must be at least 0.")
        if direction not in DIRECTIONS:
            raise FlexLoRAError(f"Unknown direction {direction!r}. Choose one of: {', '.join(DIRECTIONS)}.")
        position = {name: index for index, name in enumerate(importance if tie_order is None else tie_order)}
        for known, what in ((ranks, "ranks"), (position, "tie_order")):
            missing = [name for name in importance if name not in known]
            if missing:
                raise FlexLoRAError(
                    f"{what} does not name {missing[0]!r} and {len(missing) - 1} more that importance names."
                )
        self.ranks, self.budget, self.max_rank, self.protected = ranks, budget, max_rank, protected
        self.score = {
            name: round(float(value), DECIMALS)
            for name, value in importance.items()
            if value is not None and not math.isnan(value)
        }
        self.undefined = len(self.score) < len(importance)
        self.order = sorted(self.score, key=lambda name: (self.score[name], position[name]))

    def givers(self) -> _Half:
        def refusal(name: str) -> str | None:
            if self.ranks[name] <= 1:
                return "rank_1"
            return "protected" if name in self.protected else None

        return _Half(self.order, refusal)

    def takers(self) -> _Half:
        limit = self.max_rank

        def refusal(name: str) -> str | None:
            highest = limit.get(name) if isinstance(limit, Mapping) else limit
            return "at_max_rank" if highest is not None and self.ranks[name] >= highest else None

        return _Half(self.order[::-1], refusal)

    def plan(self, givers: _Half, takers: _Half, *rules: str) -> Reallocation:
        refused = {**takers.refused, **givers.refused}
        acted = {
            *rules,
            *("protected" if reason == "protected" else "refused" for reason in refused.values()),
            *(["undefined"] if self.undefined and self.budget else []),
            *(["tie"] if self._tie_decided(givers) or self._tie_decided(takers) else []),
        }
        return Reallocation(givers.taken, takers.taken, self.budget, refused, tuple(sorted(acted)))

    def _tie_decided(self, half: _Half) -> bool:
        count = len(half.taken)
        if not 0 < count < len(half.eligible):
            return False
        return self.score[half.taken[-1]] == self.score[half.eligible[count]]
