"""Numbers as a card says them."""

from __future__ import annotations

from typing import Any


def number(value: float) -> str:
    """Return a number to four digits, or three below 0.001: 0.3124, 415, 2.76e-10."""
    if value == 0:
        return "0"
    if abs(value) < 1e-3:
        return f"{value:.2e}"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def percent(share: float) -> str:
    """Return a share as a percentage to two digits: 0.43 %, 12 %, 100 %."""
    return f"{100 * share:.2g} %" if share < 0.995 else "100 %"


def ordinal(place: int) -> str:
    """Return 1st, 2nd, 3rd, 11th, ..."""
    ending = "th" if 10 <= place % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(place % 10, "th")
    return f"{place}{ending}"


def standing(place: int, end: str, count: int) -> str:
    """Return a place counted from an end of the order: "lowest of 36", "2nd highest of 36"."""
    return f"{end} of {count}" if place == 1 else f"{ordinal(place)} {end} of {count}"


def line(key: str, label: str, text: str, detail: str = "", value: Any = None) -> dict[str, Any]:
    """Return one line of a card: what it is about, in words, in more words, and the number at full precision."""
    return {"key": key, "label": label, "text": text, "detail": detail, "value": value}


def rule(name: str, text: str) -> dict[str, str]:
    """Return one rule that acted on a matrix."""
    return {"rule": name, "text": text}
