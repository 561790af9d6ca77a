"""Which modules a pattern of ``rank_pattern`` or ``alpha_pattern`` names, for thousands of both at once.

PEFT takes the first key that matches the end of a name, as a regular expression, after a dot or from the start. A key
that is itself a module name matches ends of its own length only, so that those are looked up instead of being tried.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache

import regex

from analysis.adapters.files import AdapterError
from analysis.outside import shown

PATTERN_SECONDS = 1.0
"""A pattern comes with the file and may be built to take for ever; no real one takes a millisecond."""

_NAME = re.compile(r"[A-Za-z0-9_.]+")
"""A pattern of these alone is a name: its dots stand for any character, every other one for itself."""

_PLACE = re.compile(r"\^(?:[A-Za-z0-9_]|\\[.\-])+")
"""A whole name with its dots escaped, as a configuration written here names a module that others end like."""

_Mask = tuple[int, ...]


class _Ends:
    """Names, to be found as ends of other names."""

    def __init__(self) -> None:
        self._masks: defaultdict[int, dict[_Mask, None]] = defaultdict(dict)
        self._first: dict[tuple[_Mask, str], int] = {}

    def add(self, name: str, place: int) -> None:
        mask = tuple(at for at, letter in enumerate(name) if letter == ".")
        self._masks[len(name)][mask] = None
        self._first.setdefault((mask, _without(name, mask)), place)

    def found(self, module: str) -> Iterable[int]:
        """Give the place of each name that matches an end of ``module``."""
        starts = [0, *(at + 1 for at, letter in enumerate(module) if letter == ".")]
        for start in starts:
            end = module[start:]
            # A dot of a pattern is any character but a line's end, which no name of a tensor holds.
            for mask in self._masks.get(len(end), ()):
                place = self._first.get((mask, _without(end, mask)))
                if place is not None:
                    yield place


class Patterns:
    """The keys of a pattern, in their order.

    Args:
        keys: regular expressions.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        self.keys = list(keys)
        self._ends, self._wholes, self._others = _Ends(), dict[str, int](), list[int]()
        for place, key in enumerate(self.keys):
            if _NAME.fullmatch(key):
                self._ends.add(key, place)
            elif _PLACE.fullmatch(key):
                self._wholes.setdefault(key[1:].replace("\\", ""), place)
            else:
                self._others.append(place)

    def first(self, module: str) -> str | None:
        """Return the first key that names a module, as PEFT matches them; None without one.

        Raises:
            AdapterError: a key is no regular expression, or one that takes longer than ``PATTERN_SECONDS``.
        """
        known = min(self._ends.found(module), default=len(self.keys))
        known = min(known, self._wholes.get(module, known))
        for place in self._others:
            if place > known:
                break
            if _matches(self.keys[place], module):
                return self.keys[place]
        return self.keys[known] if known < len(self.keys) else None


def pattern_key(patterns: Iterable[str], module: str) -> str | None:
    """Return the first of ``patterns`` that names a module, as ``Patterns.first``; the last few sets are remembered."""
    return _patterns(tuple(patterns)).first(module)


def unambiguous(names: Sequence[str], others: Sequence[str] = ()) -> dict[str, str]:
    """Return name → a pattern that names this one alone among ``names`` and ``others``: itself, where that does."""
    ends = _Ends()
    for place, name in enumerate(names):
        ends.add(name, place)
    counts = Counter(place for module in {*names, *others} for place in set(ends.found(module)))
    return {
        name: name if counts[place] == 1 and _NAME.fullmatch(name) else "^" + re.escape(name)
        for place, name in enumerate(names)
    }


@lru_cache(maxsize=8)
def _patterns(keys: tuple[str, ...]) -> Patterns:
    return Patterns(keys)


def _without(text: str, mask: _Mask) -> str:
    letters = list(text)
    for at in mask:
        letters[at] = "."
    return "".join(letters)


def _matches(key: str, module: str) -> bool:
    try:
        # Not the standard library's: it has no way to give up on a pattern.
        return bool(regex.match(rf"(.*\.)?({key})$", module, timeout=PATTERN_SECONDS))
    except TimeoutError as error:
        raise AdapterError(f"The pattern {shown(key)} takes too long to match. Write it more simply.") from error
    except (regex.error, OverflowError, RecursionError) as error:
        raise AdapterError(f"The pattern {shown(key)} is no regular expression: {str(error)[:100]}.") from error
