"""Text that people type: what it may be, and how long."""

from __future__ import annotations

import unicodedata
from typing import Any

from classroom.error import ClassError

_BLANKS = {*"\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0", *map(chr, range(0x180B, 0x1810))}
"""Letters, marks and symbols that show nothing; format signs (category Cf) show nothing either."""
_VARIANTS = {*map(chr, range(0xFE00, 0xFE10)), *map(chr, range(0xE0100, 0xE01F0))}
_JOINER = "\u200d"


def line_of(value: object, what: str, longest: int) -> str:
    """Return typed text as one line: without control characters and signs that show nothing, white space as
    single spaces. Pictures keep what joins or varies them.

    Raises:
        ClassError: it is no text, nothing of it can be seen, or it has more than ``longest`` characters.
    """
    if not isinstance(value, str):
        raise ClassError(f"{what} is missing: give text of 1 to {longest} characters.")
    text = unicodedata.normalize("NFC", value.encode("utf-8", "ignore").decode())
    around = zip(f" {text}", text, f"{text[1:]} ", strict=False)
    kept = (" " if sign.isspace() else sign for before, sign, after in around if _is_kept(before, sign, after))
    line = unicodedata.normalize("NFC", " ".join("".join(kept).split()))
    if line and all(unicodedata.category(sign)[0] in "MZ" for sign in line):
        raise ClassError(f"{what} has nothing that can be seen: give text of 1 to {longest} characters.")
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


def is_sendable(text: str) -> bool:
    """Return whether a text can be written as UTF-8: a half of a surrogate pair cannot."""
    return not any("\ud800" <= sign <= "\udfff" for sign in text)


def sendable(held: Any) -> Any:
    """Return what JSON holds without halves of surrogate pairs, which JSON can name and no answer can carry."""
    if isinstance(held, str):
        return held.encode("utf-8", "ignore").decode()
    if isinstance(held, list):
        return [sendable(part) for part in held]
    if isinstance(held, dict):
        return {sendable(name): sendable(part) for name, part in held.items()}
    return held


def _is_kept(before: str, sign: str, after: str) -> bool:
    if sign.isspace():
        return True
    if sign == _JOINER:
        return (_is_picture(before) or before in _VARIANTS) and _is_picture(after)
    if sign in _VARIANTS:
        return _is_picture(before)
    return sign not in _BLANKS and unicodedata.category(sign) not in ("Cc", "Cf", "Cs", "Co", "Cn")


def _is_picture(sign: str) -> bool:
    return unicodedata.category(sign) in ("So", "Sk") and sign not in _BLANKS
