"""How variants look: colour and symbol of their method, and what tells several of one method apart."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from plotly.colors import hex_to_rgb

from analysis.figures.theme import method_style

FILLS = ("", "-open", "-dot", "-open-dot")
"""Kind of symbol of the first, second, ... variant of one method."""

TITLE_SIZE = 13
"""Pixels of the letters over a panel, below those of the figure's title."""


def variant_style(method: str, number: int) -> dict[str, Any]:
    """Return color, dash and symbol; ``number`` is how many variants of the method stand before it."""
    style = method_style(method or None, number)
    return {**style, "symbol": style["symbol"] + FILLS[number % len(FILLS)]}


def variant_numbers(methods: Iterable[str]) -> list[int]:
    """Return for each variant how many of the same method stand before it."""
    seen: dict[str, int] = {}
    found = []
    for method in methods:
        found.append(seen.get(method, 0))
        seen[method] = found[-1] + 1
    return found


def veil(colour: str, opacity: float) -> str:
    """Return a colour that lets through what is behind it."""
    red, green, blue = hex_to_rgb(colour)
    return f"rgba({red},{green},{blue},{opacity:g})"


def place_title(task: str, cell: str) -> str:
    """Return what a panel of one task and cell is called."""
    return " · ".join(filter(None, (task, cell)))
