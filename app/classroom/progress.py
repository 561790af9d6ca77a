"""How far members are in the lessons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from analysis.lessons import lesson_steps
from classroom.error import ClassError
from classroom.text import line_of

LONGEST = 60
QUIZ = frozenset({"before", "after"})
"""The times at which one answers it, in the place of steps."""
MOST_LESSONS, MOST_STEPS = 60, 200


@dataclass(frozen=True)
class Answered:
    """What a member did of one lesson.

    Attributes:
        version: of the lesson; another version begins anew.
        steps: step → whether the latest answer there was right, None where none was given.
    """

    version: str
    steps: Mapping[str, bool | None] = field(default_factory=dict)

    @classmethod
    def of(cls, held: Mapping[str, Any]) -> Answered:
        """Return what `dataclasses.asdict` wrote."""
        steps = {str(step): right if isinstance(right, bool) else None for step, right in held["steps"].items()}
        return cls(str(held["version"]), steps)


Progress = Mapping[str, Answered]
"""Lesson → what a member did of it."""


@dataclass(frozen=True)
class Standing:
    """How far the class is in one lesson.

    Attributes:
        lesson: its name.
        begun: members who did a step of it.
        steps: step → how many did it, in the order in which it was first seen.
        right: step → how many were right there.
        asked: step → how many gave an answer there.
    """

    lesson: str
    begun: int
    steps: Mapping[str, int]
    right: Mapping[str, int]
    asked: Mapping[str, int]


def noted(progress: Progress, told: Mapping[str, Any]) -> Progress:
    """Return a member's progress after an event {lesson, step, right, version} of the Learn page.

    A step that is opened again keeps its answer. ``version`` is null for a lesson that has one only.

    Raises:
        ClassError: a field is missing or of another kind, or there is no room for more.
    """
    lesson = line_of(told.get("lesson"), "lesson", LONGEST)
    step = _name(told.get("step"), "step")
    version = "" if told.get("version") is None else _name(told["version"], "version")
    right = told.get("right")
    if right is not None and not isinstance(right, bool):
        raise ClassError("right is true, false or null.")
    before = progress.get(lesson)
    held = before.steps if before is not None and before.version == version else {}
    if (before is None and len(progress) >= MOST_LESSONS) or (step not in held and len(held) >= MOST_STEPS):
        raise ClassError(f"At most {MOST_LESSONS} lessons of {MOST_STEPS} steps are kept.")
    return {**progress, lesson: Answered(version, {**held, step: held.get(step) if right is None else right})}


def check_step(told: Mapping[str, Any]) -> None:
    """Refuse an event of a lesson or a step that the Learn page does not have.

    Raises:
        ClassError: it has none of that name.
    """
    lesson, step = told.get("lesson"), told.get("step")
    known = {**lesson_steps(), "quiz": QUIZ}
    if not isinstance(lesson, str) or lesson not in known:
        raise ClassError(f"lesson is the name of a lesson: {', '.join(known)}.")
    if not isinstance(step, str) or step not in known[lesson]:
        raise ClassError(f"step is the name of a step of {lesson}.")


def standings(everybody: Iterable[Progress]) -> list[Standing]:
    """Return how far the class is in each lesson that somebody has begun, by name."""
    found: dict[str, list[Answered]] = {}
    for progress in everybody:
        for lesson, answered in progress.items():
            found.setdefault(lesson, []).append(answered)
    return [_standing(lesson, found[lesson]) for lesson in sorted(found)]


def _standing(lesson: str, answers: list[Answered]) -> Standing:
    steps = sorted({step for own in answers for step in own.steps}, key=_in_order)
    given = {step: [own.steps[step] for own in answers if step in own.steps] for step in steps}
    return Standing(
        lesson,
        len(answers),
        {step: len(own) for step, own in given.items()},
        {step: own.count(True) for step, own in given.items()},
        {step: len(own) - own.count(None) for step, own in given.items()},
    )


def _in_order(step: str) -> tuple[int, str]:
    return (int(step) if step.isascii() and step.isdigit() else 10**9, step)


def _name(value: object, what: str) -> str:
    """Numbers are names, too: pages count their steps."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**6:
        return str(value)
    return line_of(value, what, LONGEST)
