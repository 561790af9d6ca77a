"""A member of a class."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from classroom.text import line_of

LONGEST_NAME = 40
MOST_MEMBERS = 200


@dataclass(frozen=True)
class Member:
    """Somebody who gave the code, or the leader's token.

    Attributes:
        name: as others see it.
        joined_unix_s: when.
        leads: gave the token.
    """

    name: str
    joined_unix_s: float
    leads: bool = False

    @classmethod
    def of(cls, held: Mapping[str, Any]) -> Member:
        """Return a member as `dataclasses.asdict` wrote it."""
        return cls(str(held["name"]), float(held["joined_unix_s"]), held["leads"] is True)


def name_of(value: object, taken: Collection[str]) -> str:
    """Return a name that nobody has yet: the second Anna is "Anna (2)".

    Raises:
        ClassError: it is empty or too long.
    """
    name = line_of(value, "The name", LONGEST_NAME)
    others, number, found = {other.casefold() for other in taken}, 1, name
    while found.casefold() in others:
        number += 1
        found = f"{name} ({number})"
    return found
