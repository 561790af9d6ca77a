"""``lesson_book``: the lessons as data, their texts and pictures filled with the numbers of the runs that they show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import yaml

from analysis.lessons import better, event, moving, schedule, spectrum, zero_impact
from analysis.lessons.material import Material
from analysis.lessons.quiz import quiz
from analysis.lessons.words import UNSHOWN, filled, sentence
from analysis.player_modules import FOLDER

LESSONS: dict[str, Callable[[Material], dict[str, Any]]] = {
    "1_spectrum": spectrum.facts,
    "2_event": event.facts,
    "3_zero_impact": zero_impact.facts,
    "4_schedule": schedule.facts,
    "5_moving": moving.facts,
    "6_better": better.facts,
}
"""Name of a lesson's file → what its numbers are computed by."""
WORDS_A_MINUTE, ACTION_S = 200, 20


@cache
def lesson_source(name: str) -> dict[str, Any]:
    """Return a lesson as it is written, its names of numbers not yet filled.

    Raises:
        FileNotFoundError: there is no such lesson, as where the package was installed without its app.
    """
    return yaml.safe_load((FOLDER / "learn/lessons" / f"{name}.yaml").read_text(encoding="utf-8"))


@cache
def lesson_steps() -> dict[str, frozenset[str]]:
    """Return the name of each lesson in its address → the names of its steps.

    Raises:
        FileNotFoundError: as `lesson_source`.
    """
    sources = map(lesson_source, LESSONS)
    return {source["key"]: frozenset(step["key"] for step in source["steps"]) for source in sources}


def lesson_book(lab: Material) -> dict[str, Any]:
    """Return what the reader shows: ``lessons``, ``quiz`` and the ``runs`` that the lessons look at.

    Raises:
        RunLogError: a run cannot be read.
        FlexLoRAError: the study cannot be read.
    """
    found = {name: facts(lab) for name, facts in LESSONS.items()}
    lessons = [filled_lesson(name, facts, number) for number, (name, facts) in enumerate(found.items(), 1)]
    return {"lessons": lessons, "quiz": quiz({**found["5_moving"], **found["6_better"]}), "runs": _shown(lessons)}


def _shown(lessons: list[dict[str, Any]]) -> list[str]:
    """The runs that a step puts on its stage, in the order in which they come."""
    steps = [part for lesson in lessons for step in lesson["steps"] for part in (step, step.get("reveal", {}))]
    views = [part["stage"]["view"] for part in steps if "view" in part.get("stage", {})]
    return list(dict.fromkeys(str(view["run"]) for view in views))


def filled_lesson(name: str, facts: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Return a lesson with its numbers.

    Args:
        name: one of ``LESSONS``.
        facts: of the runs that it shows.
        number: its place, from 1.

    Raises:
        KeyError: it names a number that the facts do not have.
    """
    lesson = filled(lesson_source(name), facts)
    for step in lesson["steps"]:
        for part in (step, step.get("reveal", {})):
            part["text"] = [sentence(text) for text in part.get("text", [])]
    minutes = reading_minutes(lesson)
    steps = [{key: value for key, value in step.items() if key not in UNSHOWN} for step in lesson["steps"]]
    return {"first": 1, **lesson, "number": number, "minutes": round(minutes), "steps": steps}


def reading_minutes(lesson: Mapping[str, Any]) -> float:
    """Return how long a lesson takes: its words at 200 a minute, and 20 s for each thing that it asks to do."""
    texts = [lesson.get("about", ""), *(text for step in lesson["steps"] for text in _read(step))]
    words = sum(len(text.split()) for text in texts)
    actions = sum("ask" in step for step in lesson["steps"])
    return words / WORDS_A_MINUTE + actions * ACTION_S / 60


def _read(step: Mapping[str, Any]) -> list[str]:
    """Everything of a step that is read, its answer and the titles of its pictures too."""
    ask, reveal = step.get("ask") or {}, step.get("reveal") or {}
    texts = [step["title"], step.get("formula", ""), ask.get("question", ""), reveal.get("formula", "")]
    pictures = [part.get("stage", {}).get(kind, {}) for part in (step, reveal) for kind in ("figure", "dial")]
    texts += [picture.get("title", "") for picture in pictures]
    return [*texts, *step["text"], *ask.get("options", []), *reveal.get("text", [])]
