"""A question that the leader asks, and what the class answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from classroom.error import ClassError
from classroom.text import line_of, whole_of

LONGEST_QUESTION, LONGEST_CHOICE = 200, 80
CHOICE_COUNTS = range(2, 9)
MOST_POLLS = 100


@dataclass(frozen=True)
class Poll:
    """One question.

    Attributes:
        number: from 1, in the order in which they were asked.
        question: one line.
        choices: what one can answer.
        votes: key of a member → place among ``choices``; one vote each.
        open: votes are taken, and can be changed.
        revealed: everybody sees the counts.
    """

    number: int
    question: str
    choices: tuple[str, ...]
    votes: Mapping[str, int] = field(default_factory=dict)
    open: bool = True
    revealed: bool = False

    @property
    def counts(self) -> list[int]:
        """Votes for each choice."""
        given = list(self.votes.values())
        return [given.count(place) for place in range(len(self.choices))]

    @classmethod
    def of(cls, held: Mapping[str, Any]) -> Poll:
        """Return a poll as `dataclasses.asdict` wrote it."""
        votes = {str(key): int(place) for key, place in held["votes"].items()}
        return cls(
            int(held["number"]), str(held["question"]), tuple(map(str, held["choices"])), votes,
            held["open"] is True, held["revealed"] is True,
        )  # fmt: skip


def new_poll(number: int, question: object, choices: object) -> Poll:
    """Return a poll that is open and has no votes.

    Raises:
        ClassError: the question or a choice is empty or too long, there are too few or too many, or two are the same.
    """
    if not isinstance(choices, Sequence) or isinstance(choices, str) or len(choices) not in CHOICE_COUNTS:
        raise ClassError(f"A poll has {CHOICE_COUNTS[0]} to {CHOICE_COUNTS[-1]} choices, one a line.")
    lines = tuple(line_of(choice, "A choice", LONGEST_CHOICE) for choice in choices)
    if len({line.casefold() for line in lines}) < len(lines):
        raise ClassError("Two choices are the same.")
    return Poll(number, line_of(question, "The question", LONGEST_QUESTION), lines)


def voted(poll: Poll, member: str, choice: object) -> Poll:
    """Return the poll with a member's vote, in the place of an earlier one.

    Raises:
        ClassError: it is closed, or has no such choice.
    """
    if not poll.open:
        raise ClassError("This poll is closed.", 409)
    place = whole_of(choice, "choice", 0, len(poll.choices) - 1)
    return replace(poll, votes={**poll.votes, member: place})
