"""Who leads the class of this server, what its members are called, how large their jobs may be.

Without a class nobody leads, nobody has a name and nothing is bounded. ``app/classroom`` tells, other rooms ask.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from jobs.caps import Caps


@dataclass(frozen=True)
class _Told:
    leaders: frozenset[str] = frozenset()
    names: Mapping[str, str] = field(default_factory=dict)
    caps: Caps | None = None


_told = _Told()


def tell(leaders: Iterable[str], names: Mapping[str, str], caps: Caps) -> None:
    """Take over what holds from now on: keys of the leaders, key → name of the members, and the bounds."""
    global _told
    _told = _Told(frozenset(leaders), dict(names), caps)


def forget() -> None:
    """There is no class any more."""
    global _told
    _told = _Told()


def is_class() -> bool:
    """Return whether this server has a class."""
    return _told.caps is not None


def leads(key: str) -> bool:
    """Return whether somebody leads the class."""
    return key in _told.leaders


def name_of(key: str | None) -> str | None:
    """Return what a member is called; None for anybody else."""
    return None if key is None else _told.names.get(key)


def is_outside(key: str) -> bool:
    """Return whether there is a class and somebody is not in it."""
    return is_class() and key not in _told.names


def caps_of(key: str) -> Caps | None:
    """Return how large somebody's jobs may be; None where nothing bounds them."""
    return None if leads(key) else _told.caps
