"""Text that people type: what it may be, and how long."""

from __future__ import annotations

import unicodedata

from classroom.error import ClassError

_TURNS = {*map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A)), "\u200e", "\u200f"}
"""Marks that turn the direction of what follows, also of other people's names."""


def line_of(value: object, what: str, longest: int) -> str:
    """Return typed text as one line: without control characters, white space as single spaces.

    Raises:
        ClassError: it is no text, nothing is left of it, or it has more than ``longest`` characters.
    """
    if not isinstance(value, str):
        raise ClassError(f"{what} is missing: give text of 1 to {longest} characters.")
    text = unicodedata.normalize("NFC", value.encode("utf-8", "ignore").decode())
    kept = (" " if sign.isspace() else sign for sign in text if sign.isspace() or not _unseen(sign))
    line = " ".join("".join(kept).split())
    if not 1 <= len(line) <= longest:
        raise ClassError(f"{what} has {len(line):,} characters: give 1 to {longest}.")
    return line


def whole_of(value: object, what: str, least: int, most: int) -> int:
    """Return a whole number between two bounds, both included.

    Raises:
        ClassError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ClassError(f"{what} is a whole number from {least} to {most:,}.")
    return value


def _unseen(sign: str) -> bool:
    return sign in _TURNS or unicodedata.category(sign) in ("Cc", "Cs", "Co", "Cn")
