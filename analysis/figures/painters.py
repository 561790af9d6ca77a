"""Painters that figures share: curves, marks and bands over time, in panels above each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.figures.theme import PATTERNS, STEP, styled

MARKS = 7
"""Symbols on a curve: enough to follow it without its colour, too few to hide another."""


def panels(title: str, names: Sequence[str], height: int, weights: Sequence[float] = ()) -> go.Figure:
    """Return an empty figure of panels above each other that share the step.

    ``names`` are those of the vertical axes, from above. The height is in pixels; ``weights`` are the panels' shares of
    it, empty = all the same.
    """
    count = len(names)
    figure = make_subplots(
        rows=count, cols=1, shared_xaxes=True, row_heights=list(weights) or None, vertical_spacing=0.07
    )
    styled(figure, title=title, x="", y="")
    figure.update_xaxes(title=None).update_xaxes(title=STEP, row=count, col=1)
    for row, name in enumerate(names, 1):
        figure.update_yaxes(title=name, rangemode="tozero", row=row, col=1)
    return figure.update_layout(height=height)


def curve(
    figure: go.Figure,
    x: Any,
    y: Any,
    name: str,
    colour: str,
    *,
    dash: str = "solid",
    width: float = 2.0,
    shape: str = "hv",
    told: str = "%{y:.4g}",
    row: int = 1,
    **more: Any,
) -> None:
    """Add a curve to a figure made by ``panels``; by default it holds until the next step.

    ``x`` and ``y`` are (n,), NaN = no line; ``width`` is in pixels, ``shape`` is ``hv`` (steps) or ``linear``, ``row``
    is the panel, from 1. ``told`` is what the pointer reads after name and step; empty = it finds nothing. ``more`` are
    further properties of the trace.
    """
    found = {"hovertemplate": f"{name}<br>step %{{x}}<br>{told}<extra></extra>"} if told else {"hoverinfo": "skip"}
    line = {"color": colour, "dash": dash, "width": width, "shape": shape}
    figure.add_scatter(x=x, y=y, name=name, **{"mode": "lines", "line": line, **found, **more}, row=row, col=1)


def marks(
    figure: go.Figure,
    x: Any,
    y: Any,
    name: str,
    marker: dict[str, Any],
    told: str = "%{y:.4g}",
    row: int = 1,
    **more: Any,
) -> None:
    """Add marks without a line; the arguments are those of ``curve``."""
    curve(figure, x, y, name, "", told=told, row=row, **{"mode": "markers", "line": None, "marker": marker, **more})


def bars(figure: go.Figure, x: Any, y: Any, name: str, colour: str, told: str, pattern: str = "", **more: Any) -> None:
    """Add one bar a step; the arguments are those of ``curve``, and the pattern that tells it without its colour."""
    figure.add_bar(
        x=x,
        y=y,
        name=name,
        marker={"color": colour, "pattern": {"shape": pattern, "size": 5, "solidity": 0.35}},
        hovertemplate=f"step %{{x}}<br>{told}<extra></extra>",
        **more,
    )


def band(
    figure: go.Figure, x: Any, share: np.ndarray, name: str, colour: str, pattern: int, told: str, **more: Any
) -> None:
    """Add a band (n,) on top of those before it; the arguments are those of ``curve``, and the pattern's number."""
    fill = {"shape": PATTERNS[pattern % len(PATTERNS)], "fgcolor": "#ffffff", "bgcolor": colour, "size": 6}
    own = {"stackgroup": "share", "fillcolor": colour, "fillpattern": {**fill, "solidity": 0.25}}
    curve(figure, x, share, name, "#ffffff", width=0.6, told=told, **own, **more)


def spread_marks(count: int, number: int) -> np.ndarray:
    """Return the places of a few marks on a curve of so many points, shifted from curve to curve so that none hides."""
    places = (np.arange(MARKS) + (number % MARKS) / MARKS) / MARKS * count
    return np.unique(places.astype(np.int64)) if count else np.zeros(0, np.int64)


def note(figure: go.Figure, text: str, y: float = 0.5) -> None:
    """Write a sentence across the figure."""
    figure.add_annotation(text=text, x=0.5, y=y, xref="paper", yref="paper", showarrow=False)
