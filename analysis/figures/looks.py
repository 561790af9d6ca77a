"""How variants look: as their method, and what tells several of one method apart."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from plotly.colors import hex_to_rgb

from analysis.figures.theme import METHOD_LOOKS, method_style

LATER_COLOURS = ("#C2185B", "#00897B", "#6A51C8", "#8D6E00", "#00A3C4")
"""Colours of the second variant of a method and of later ones: none is the colour of a method."""
FILLS = ("", "-open", "-dot", "-open-dot")
"""Kind of symbol of the first, second, ... variant of one method."""

TITLE_SIZE = 13
"""Pixels of the letters over a panel, below those of the figure's title."""


def variant_style(method: str, number: int) -> dict[str, Any]:
    """Return color, dash and symbol; ``number`` is how many variants of the method stand before it.

    The first has the colour of its method, each later one another: two lines of one colour are taken for one.
    """
    style = method_style(method or None, number)
    if number:
        # Methods begin at different ones, so that their second variants differ, too.
        begin = list(METHOD_LOOKS).index(method) if method in METHOD_LOOKS else len(METHOD_LOOKS)
        style["color"] = LATER_COLOURS[(2 * begin + number - 1) % len(LATER_COLOURS)]
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
