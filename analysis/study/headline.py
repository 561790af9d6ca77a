"""``headline``: what a study says, in one line."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.study.claims import Claim
from analysis.study.compare import Compared
from analysis.study.write import digits_of, number_text

NAMED = 2
"""Variants of one verdict that the line names; the others are counted."""
MOST_DIGITS = 6


def headline(said: Sequence[Claim], found: Sequence[Compared]) -> str:
    """Return the answer of a comparison in one line; empty where nothing is compared.

    Says who is better, or else that nothing shows a gain, and what the first variant that is not surely the same could
    be. Of a reference that moves no rank and a variant that does, what is asked is whether moving rank helps.

    Args:
        said: ``claims`` of the study.
        found: ``compare_study`` of it.
    """
    if not said:
        return ""
    if all(claim.verdict == "refused" for claim in said):
        return "Nothing is claimed here: the budgets are not equal."
    by = {word: [claim.compared for claim in said if claim.verdict == word] for word in ("better", "worse")}
    if by["better"]:
        others = len(said) - len(by["better"])
        told = _judged(by["better"], "better", found)
        if by["worse"]:
            told += f"; {_judged(by['worse'], 'worse', found)}"
            others -= len(by["worse"])
        return f"{told}{f'; {others} more {_is(others)} not better' if others else ''}."
    if all(claim.verdict == "no difference" for claim in said):
        return _same(said[0].compared, len(said))
    compared = [claim.compared for claim in said if claim.verdict != "no difference"]
    if all(one.too_few for one in compared):
        most = max(one.pairs.n for one in compared if one.pairs)
        pairs = "One pair" if most == 1 else f"{most} pairs"
        return f"{pairs} cannot tell anything apart, however large: {compared[0].needed} are needed."
    first = compared[0]
    asked = "that moving rank helps" if _only_it_moves(first, found) else f"a gain over {first.reference}"
    told = _judged(by["worse"], "worse", found) if by["worse"] else _open(first, found)
    return f"Nothing here shows {asked}: {told}."


def _judged(own: Sequence[Compared], word: str, found: Sequence[Compared]) -> str:
    parts = []
    for one in own[:NAMED]:
        assert one.pairs is not None
        (by,) = _told([abs(one.pairs.mean)], one, found)
        parts.append(f"{_named(one, found)} is {word} than {one.reference} by {by}")
    rest = len(own) - NAMED
    return ", ".join([*parts, *([f"{rest} more {_is(rest)} {word}"] if rest > 0 else [])])


def _open(one: Compared, found: Sequence[Compared]) -> str:
    """Return what a variant that is not told apart could be, by its interval."""
    pairs = one.pairs
    assert pairs is not None
    name = _named(one, found)
    if one.too_few:
        return f"{pairs.n} pair{'s' * (pairs.n != 1)} cannot tell {name} from {one.reference}"
    # Above 0 is better from here on.
    low, high = (-pairs.high, -pairs.low) if one.lower_is_better else (pairs.low, pairs.high)
    ends = _told([abs(low), abs(high)], one, found)
    if low < 0 < high:
        return f"{name} could be worse by {ends[0]} or better by {ends[1]} than {one.reference}"
    if low == high == 0:
        return f"{name} equals {one.reference} in every pair"
    word, (near, far) = ("better", ends) if high > 0 else ("worse", ends[::-1])
    chance = f"the test does not tell it from chance (p {number_text(one.adjusted_p, 3)})"
    return f"{name} looks {word} than {one.reference} by {near} to {far}, but {chance}"


def _same(first: Compared, count: int) -> str:
    if count == 1:
        return f"{first.variant} makes no difference that matters against {first.reference}."
    return f"None of the {count} variants differs from {first.reference} by as much as would matter."


def _named(one: Compared, found: Sequence[Compared]) -> str:
    """Return the label of a variant, with its place where there are several."""
    several = len({(other.task, other.cell) for other in found}) > 1
    return f"{one.variant} on {' at '.join(filter(None, (one.task, one.cell)))}" if several else one.variant


def _only_it_moves(one: Compared, found: Sequence[Compared]) -> bool:
    base = [other for other in found if other.variant == one.reference and _place(other) == _place(one)]
    return one.moved > 0 and all(other.moved == 0 for other in base)


def _told(values: Sequence[float], one: Compared, found: Sequence[Compared]) -> list[str]:
    """Return sizes with a digit less than the table has, or with those that it takes to tell them from 0."""
    digits = max(2, digits_of([other for other in found if other.metric == one.metric]) - 1)
    while digits < MOST_DIGITS and any(value and not round(value, digits) for value in values):
        digits += 1
    return [number_text(value, digits) for value in values]


def _place(one: Compared) -> tuple[str, str]:
    return one.task, one.cell


def _is(count: int) -> str:
    return "is" if count == 1 else "are"
