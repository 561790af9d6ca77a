"""The board of results: each member's best run of one task, at one budget."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from classroom.error import ClassError
from classroom.text import line_of, whole_of

_LONGEST = 60


@dataclass(frozen=True)
class Board:
    """What the leader compares.

    Attributes:
        task: name of the task.
        metric: what is measured last in a run, such as "test accuracy".
        steps: the budget, in training steps; runs of another length do not count.
        rank: the budget, in directions a matrix at the end as the configuration asks for; others do not count.
        anonymous: others see no names.
    """

    task: str
    metric: str
    steps: int
    rank: int
    anonymous: bool = False

    @classmethod
    def of(cls, held: Mapping[str, Any]) -> Board:
        """Return a board from untrusted fields.

        Raises:
            ClassError: a field is missing or of another kind.
        """
        anonymous = held.get("anonymous", False)
        if not isinstance(anonymous, bool):
            raise ClassError("anonymous is true or false.")
        return cls(
            line_of(held.get("task"), "task", _LONGEST),
            line_of(held.get("metric"), "metric", _LONGEST),
            whole_of(held.get("steps"), "steps", 1, 1_000_000),
            whole_of(held.get("rank"), "rank", 1, 10_000),
            anonymous,
        )


@dataclass(frozen=True)
class Entry:
    """A finished run that may stand on a board.

    Attributes:
        owner: key of its owner.
        run: name of its folder.
        method: name of its method.
        task, metric, steps, rank: as in ``Board``.
        result: what was measured.
    """

    owner: str
    run: str
    method: str
    task: str
    metric: str
    steps: int
    rank: int
    result: float


@dataclass(frozen=True)
class Place:
    """A line of the board: ``number`` is shared by those with the same result, and the next one counts them."""

    number: int
    entry: Entry


def ranked(board: Board, entries: Iterable[Entry], members: Iterable[str]) -> list[Place]:
    """Return the best run of each member that the board compares, best first.

    A loss is better when it is lower, everything else when it is higher. Results that are no numbers do not count.
    """
    sign = 1.0 if "loss" in board.metric else -1.0
    wanted, known = (board.task, board.metric, board.steps, board.rank), set(members)
    best: dict[str, Entry] = {}
    for entry in entries:
        fits = (entry.task, entry.metric, entry.steps, entry.rank) == wanted and entry.owner in known
        if not fits or entry.result != entry.result:
            continue
        before = best.get(entry.owner)
        if before is None or (sign * entry.result, entry.run) < (sign * before.result, before.run):
            best[entry.owner] = entry
    order = sorted(best.values(), key=lambda entry: (sign * entry.result, entry.run))
    results = [entry.result for entry in order]
    return [Place(1 + results.index(entry.result), entry) for entry in order]
