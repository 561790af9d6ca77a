"""``claims``: what a study says, a sentence a comparison, with its numbers and its verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.statistics import POWER
from analysis.study.compare import Compared, StudyTable, unequal_budgets
from analysis.study.write import digits_of, number_text

WORDS = {
    "better": "is better than",
    "worse": "is worse than",
    "no difference": "makes no difference that matters against",
    "not told apart": "is not told apart from",
}

TOLD_SHARE = 0.05
"""Share of the reference's parameter·steps by which a variant's must differ to be told."""


@dataclass(frozen=True)
class Claim:
    """One sentence.

    Attributes:
        text: the sentence, plain text.
        verdict: as in ``Compared``, or ``refused`` where the budgets were not equal.
        compared: what it rests on.
    """

    text: str
    verdict: str
    compared: Compared


def claims(study: StudyTable, found: Sequence[Compared], margin: float | None = None) -> list[Claim]:
    """Return a sentence for each variant that is not a reference.

    Where a budget was stated and is not equal nothing is claimed: the numbers are told, and why there is no verdict.
    """
    margin = study.summary["margin"] if margin is None else margin
    unequal = unequal_budgets(study)
    told = []
    for one in found:
        if one.pairs is not None:
            own = [other for other in found if (other.task, other.cell) == (one.task, one.cell)]
            verdict = "refused" if unequal else one.verdict
            digits = digits_of([other for other in found if other.metric == one.metric])
            text = _sentence(one, digits, margin, refused=unequal) + ("" if unequal else _trained(one, own))
            told.append(Claim(text, verdict, one))
    return told


def _trained(one: Compared, own: Sequence[Compared]) -> str:
    """Return a sentence where a variant trained with another sum of parameters over steps than its reference."""
    base = next((other.spent["parameter_steps"] for other in own if other.variant == one.reference), math.nan)
    share = one.spent["parameter_steps"] / base if base else math.nan
    if math.isnan(share) or abs(share - 1.0) < TOLD_SHARE:
        return ""
    return f" It trained with {share:.3g} × the parameter·steps of {one.reference}."


def _sentence(one: Compared, digits: int, margin: float | None, *, refused: bool) -> str:
    pairs = one.pairs
    assert pairs is not None
    where = f"On {' at '.join(filter(None, (one.task, one.cell)))}"
    metric = one.metric.replace("_", " ")

    def said(value: float, sign: str = "") -> str:
        return number_text(value, digits, sign)

    words = "cannot be judged against" if refused else WORDS[one.verdict]
    text = f"{where}, {one.variant} {words} {one.reference} in {metric}: {said(pairs.mean, '+')}"
    if math.isnan(pairs.low):
        return f"{text}, one pair, which cannot tell anything apart: {one.needed} are needed."
    text += f" [{said(pairs.low, '+')}, {said(pairs.high, '+')}], {pairs.n} pairs, p {number_text(one.adjusted_p, 3)}"
    if one.lower_is_better:
        text += " (less is better)"
    if refused:
        return f"{text}. Their budgets are not equal, so nothing is claimed."
    if one.too_few and one.verdict == "not told apart":
        text += f"; {pairs.n} pairs cannot tell anything apart, however large: {one.needed} are needed"
    elif one.verdict == "not told apart" and not math.isnan(pairs.detectable):
        text += f"; a difference of {said(pairs.detectable)} would have been found in {POWER:.0%} of such studies"
    elif one.verdict == "no difference" and margin:
        text += f"; it lies within ± {margin:g}"
    return f"{text.replace('%', ' %')}."
