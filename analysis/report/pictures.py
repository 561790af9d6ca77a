"""A figure of lines and marks as SVG: for a page that runs no scripts and has the colours of its reader's theme."""

from __future__ import annotations

import math
import re
from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go

WIDTH, HEIGHT = 720, 320
LEFT, RIGHT, TOP, BOTTOM = 80, 18, 12, 46
"""Room around the axes for numbers and titles, px."""
MOST_TICKS = 6
"""Numbers along an axis, beside 0."""
STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
SPARE = 1.03
"""Ends of the axes beside the largest number: a mark there is drawn whole."""
STYLE = """
.picture { display: block; width: 100%; max-width: 760px; height: auto; font: 12px var(--st-font); }
.picture text { fill: var(--st-text-color); } .picture .grid { stroke: currentColor; opacity: .18; }
.picture polyline { fill: none; stroke-width: 2; }
.picture .mark { stroke: var(--st-background-color); stroke-width: 1.5; }
"""


def lines_svg(figure: go.Figure) -> str:
    """Return the lines and marks of a figure as an SVG element; both axes are linear and begin at 0.

    Titles, colours and number formats are the figure's; what a mark says on hover is its ``title``.
    """
    traces = [(trace, np.asarray(trace.x, float), np.asarray(trace.y, float)) for trace in figure.data]
    x_end, y_end = (SPARE * max(float(own[place].max()) for own in traces) or 1.0 for place in (1, 2))
    across, up = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def places(x: np.ndarray, y: np.ndarray) -> list[tuple[float, float]]:
        return list(zip((LEFT + x / x_end * across).tolist(), (TOP + up - y / y_end * up).tolist(), strict=True))

    layout: Any = figure.layout
    parts: list[str] = []
    for value in _ticks(x_end):
        ((x, y),) = places(np.array([value]), np.zeros(1))
        parts.append(_text(x, y + 16, _number(value, layout.xaxis.tickformat), "middle"))
    for value in _ticks(y_end):
        ((x, y),) = places(np.zeros(1), np.array([value]))
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(x - 8, y + 4, _number(value, layout.yaxis.tickformat), "end"))
    parts.append(_text(LEFT + across / 2, HEIGHT - 8, layout.xaxis.title.text, "middle"))
    turned = f'transform="rotate(-90 16 {TOP + up / 2})"'
    parts.append(_text(16, TOP + up / 2, layout.yaxis.title.text, "middle", turned))
    for trace, xs, ys in traces:
        parts.append(_drawn(trace, places(xs, ys), xs, ys))
    told = escape(f"{layout.title.text}: {layout.yaxis.title.text} against {layout.xaxis.title.text}", quote=True)
    return f'<svg class="picture" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{told}">{"".join(parts)}</svg>'


def _ticks(end: float) -> list[float]:
    """Return round numbers from 0 to an end above 0."""
    power = 10.0 ** math.floor(math.log10(end / MOST_TICKS))
    step = next(own * power for own in STEPS if own * power * MOST_TICKS >= end)
    return [number * step for number in range(int(end / step) + 1)]


def _number(value: float, form: str | None) -> str:
    """Return a number in a format of d3's that is Python's too; without one as it is."""
    return f"{value:{form}}" if form else f"{value:,.10g}"


def _text(x: float, y: float, told: str, anchor: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{escape(told)}</text>'


def _drawn(trace: Any, places: list[tuple[float, float]], xs: np.ndarray, ys: np.ndarray) -> str:
    """Return a trace as one line, or as a diamond a point that says on hover what the figure's says."""
    if "lines" in trace.mode:
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        return f'<polyline points="{points}" stroke="{trace.line.color}"/>'
    return "".join(
        f'<path class="mark" fill="{trace.marker.color}" d="M{x:.1f} {y - 6:.1f}l6 6l-6 6l-6 -6z">'
        f"<title>{escape(_hover(trace.hovertemplate, {'x': own_x, 'y': own_y}))}</title></path>"
        for (x, y), own_x, own_y in zip(places, xs.tolist(), ys.tolist(), strict=True)
    )


def _hover(template: str, values: dict[str, float]) -> str:
    told = template.removesuffix("<extra></extra>").replace("<br>", ", ")
    return re.sub(r"%\{([xy]):([^}]*)\}", lambda found: _number(values[found[1]], found[2]).removesuffix(".0"), told)
