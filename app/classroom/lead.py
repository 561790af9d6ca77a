"""What the leader shows: an address of the app, which everybody's browser follows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from classroom.error import ClassError
from classroom.text import is_sendable

_PAGE = re.compile(r"[a-z0-9_-]{0,40}")
MOST_PARAMETERS, LONGEST_PARAMETER = 30, 400


@dataclass(frozen=True)
class Lead:
    """Where the leader is.

    Attributes:
        on: others follow.
        page: the name of the page in its address; empty for the first one.
        query: parameters of its address: run, step, lesson and whatever else the page keeps there.
        number: grows with each move.
    """

    on: bool = False
    page: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    number: int = 0

    @classmethod
    def of(cls, held: Mapping[str, Any]) -> Lead:
        """Return what `dataclasses.asdict` wrote."""
        query = {str(name): str(value) for name, value in held["query"].items()}
        return cls(held["on"] is True, str(held["page"]), query, int(held["number"]))


def moved(lead: Lead, on: object, page: object, query: object) -> Lead:
    """Return the leader's next place; the same one when nothing has changed.

    Raises:
        ClassError: that is no address of a page.
    """
    if not isinstance(on, bool):
        raise ClassError("on is true or false.")
    if not isinstance(page, str) or not _PAGE.fullmatch(page):
        raise ClassError("page is the name of a page in its address, as train.")
    if not isinstance(query, Mapping) or len(query) > MOST_PARAMETERS:
        raise ClassError(f"query has at most {MOST_PARAMETERS} parameters, each a name and a text.")
    for part in (*query.keys(), *query.values()):
        if not isinstance(part, str) or len(part) > LONGEST_PARAMETER or not is_sendable(part):
            raise ClassError(f"A parameter of query is text of at most {LONGEST_PARAMETER} characters.")
    place = (on, page, dict(query))
    return lead if place == (lead.on, lead.page, lead.query) else Lead(*place, lead.number + 1)
