"""The page's words: what they mean, and how a run says it in its own numbers."""

from __future__ import annotations

from typing import Any

from analysis.glossary.introduction import Stop, introduction, tour
from analysis.glossary.moment import Moment
from analysis.glossary.terms import GLOSSARY, Term
from analysis.metrics import parked_step
from analysis.quantities import record_of
from analysis.runs import Run, exact_event

__all__ = [
    "GLOSSARY",
    "Moment",
    "Stop",
    "Term",
    "explain",
    "introduction",
    "plain_terms",
    "told_in_file",
    "tour",
    "words",
]


def words() -> dict[str, list[str]]:
    """Return key of a term → how texts spell it."""
    return {term.key: list(term.words) for term in GLOSSARY.values()}


def plain_terms() -> dict[str, dict[str, Any]]:
    """Return key of a term → label, definition and formula, where there is no run to take numbers from."""
    return {
        term.key: {"label": term.label, "definition": term.definition, "formula": term.formula}
        for term in GLOSSARY.values()
    }


def explain(run: Run, step: int, matrix: str) -> dict[str, Any]:
    """Return every term with the numbers of a matrix at a step, ready for JSON.

    Returns:
        ``place``, what the numbers are of, in words; ``terms``, key → ``plain_terms``, ``own`` and ``picture``.

    Raises:
        ValueError: the run has no such matrix.
    """
    index = run.place_of(matrix)
    if not len(run.steps):
        return {"place": "", "terms": plain_terms()}
    moment = Moment(run, int(run.steps[record_of(run, step)]), index)
    numbers = {key: {"own": term.own(moment), "picture": term.picture(moment)} for key, term in GLOSSARY.items()}
    return {"place": moment.place, "terms": {key: told | numbers[key] for key, told in plain_terms().items()}}


def told_in_file(run: Run, most: int = 64) -> dict[str, Any]:
    """Return what a file without a server tells: ``tour``, and ``terms`` by matrix at the event to look at first.

    Of more than ``most`` matrices those have their numbers that the event moved; "" stands for any other.
    """
    step = parked_step(run)
    event = exact_event(run, step)
    moved = [move["matrix"] for half in ("prune", "extend") for move in event[half]] if event else []
    names = [matrix.name for matrix in run.matrices] if len(run.matrices) <= most else dict.fromkeys(moved)
    others = {"place": "", "terms": plain_terms()}
    return {"tour": tour(run), "terms": {"": others, **{name: explain(run, step, name) for name in names}}}
