"""How variants look: as their method, and what tells several of one method apart."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import plotly.graph_objects as go
from plotly.colors import hex_to_rgb
from plotly.subplots import make_subplots

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


def marker(style: Mapping[str, Any], size: float, width: float = 2) -> dict[str, Any]:
    """Return a marker in the colour and symbol of a style, with an edge that open symbols need."""
    return {
        "symbol": style["symbol"],
        "size": size,
        "color": style["color"],
        "line": {"width": width, "color": style["color"]},
    }


def error_bars(
    values: Sequence[float], ends: Sequence[Sequence[float]], colour: str, thickness: float = 1.5
) -> dict[str, Any]:
    """Return bars from ``ends[i]``, (low, high), around ``values[i]``; none where they are not known, NaN."""
    known = [
        (low, high) if math.isfinite(low) else (value, value) for value, (low, high) in zip(values, ends, strict=True)
    ]
    return {
        "array": [high - value for value, (_, high) in zip(values, known, strict=True)],
        "arrayminus": [value - low for value, (low, _) in zip(values, known, strict=True)],
        "thickness": thickness,
        "width": 0,
        "color": colour,
    }


class Placed(Protocol):
    """What belongs to a task and cell."""

    @property
    def task(self) -> str:
        """Its task."""
        ...

    @property
    def cell(self) -> str:
        """Values of the axes within which it is compared."""
        ...


Item = TypeVar("Item", bound=Placed)


def by_place(items: Iterable[Item]) -> dict[tuple[str, str], list[Item]]:
    """Return task and cell → its items, in order."""
    groups: dict[tuple[str, str], list[Item]] = {}
    for item in items:
        groups.setdefault((item.task, item.cell), []).append(item)
    return groups


def place_panels(places: Sequence[tuple[str, str]], **grid: Any) -> tuple[go.Figure, str]:
    """Return a figure with a panel for each task and cell, and what its title adds where there is one alone.

    ``grid`` goes to ``plotly.subplots.make_subplots``.
    """
    titles = [place_title(*place) for place in places]
    several = len(titles) > 1
    figure = make_subplots(rows=len(titles), cols=1, subplot_titles=titles if several else None, **grid)
    figure.update_annotations(font={"size": TITLE_SIZE})
    return figure, "" if several else f", {titles[0]}"


def place_title(task: str, cell: str) -> str:
    """Return what a panel of one task and cell is called."""
    return " · ".join(filter(None, (task, cell)))
