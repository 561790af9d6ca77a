"""Cells of a map of layer × module type: colour, number, hatch for undefined, − and + of an event."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go

from analysis.figures.adapters import Grid, Placed, adapter_grid
from analysis.figures.theme import EXTENDED, PRUNED

MANY_LAYERS = 20
"""More layers than this lie along x, as in the player."""
MOST_LABELS = 40
MOST_CELLS_WITH_TEXT = (30, 40)
"""Columns and rows, all maps of a figure side by side, up to which a cell has room for a short number."""
HATCH = "rgba(127,127,127,0.75)"
GLYPHS = (("pruned", "−", PRUNED, -0.34), ("extended", "+", EXTENDED, 0.34))
"""Half of an event → its sign, colour, and where in the cell it stands."""


class Panel(NamedTuple):
    """One map.

    Attributes:
        values: (M,) NaN = undefined: hatched.
        texts: what each cell says where there is room.
        hovers: what the pointer finds.
        pruned: (M,) directions that the event prunes.
        extended: (M,) directions that the event extends.
        colour_axis: name of the layout's colour axis.
    """

    values: np.ndarray
    texts: Sequence[str]
    hovers: Sequence[str]
    pruned: np.ndarray
    extended: np.ndarray
    colour_axis: str


def map_grid(matrices: Sequence[Placed]) -> Grid:
    """Return layer × module type, or module type × layer for more than 20 layers."""
    grid = adapter_grid(matrices)
    if len(grid.rows) <= MANY_LAYERS:
        return grid
    return Grid(grid.columns, grid.rows, {name: (column, row) for name, (row, column) in grid.place.items()})


def is_sideways(matrices: Sequence[Placed]) -> bool:
    """Return True when layers lie along x."""
    return len({matrix.layer for matrix in matrices}) > MANY_LAYERS


def has_room(grid: Grid, side_by_side: int, characters: int) -> bool:
    """Return True when every cell can hold a text of so many characters."""
    columns, rows = MOST_CELLS_WITH_TEXT
    return len(grid.columns) * side_by_side * max(1.0, characters / 2.5) <= columns and len(grid.rows) <= rows


def add_panel(
    figure: go.Figure,
    matrices: Sequence[Placed],
    grid: Grid,
    panel: Panel,
    at: tuple[int, int] = (1, 1),
    side_by_side: int = 1,
    words: tuple[str, str] = ("pruned", "extended"),
) -> None:
    """Draw a map into a subplot.

    Args:
        figure: made by ``make_subplots``.
        matrices: in the order of the panel's arrays.
        grid: of these matrices.
        panel: what to draw.
        at: row and column of the subplot.
        side_by_side: how many maps share the figure's width.
        words: what a prune and an extension are called.
    """
    shape = (len(grid.rows), len(grid.columns))
    z, text, hover = np.full(shape, np.nan), np.full(shape, "", object), np.full(shape, "", object)
    for number, matrix in enumerate(matrices):
        place = grid.place[matrix.name]
        z[place], hover[place] = panel.values[number], panel.hovers[number]
        text[place] = panel.texts[number] if np.isfinite(panel.values[number]) else ""
    longest = max((len(one) for one in panel.texts), default=0)
    row, column = at
    figure.add_trace(
        go.Heatmap(
            z=z,
            text=text,
            texttemplate="%{text}" if has_room(grid, side_by_side, longest) else None,
            hovertext=hover,
            hovertemplate="%{hovertext}<extra></extra>",
            coloraxis=panel.colour_axis,
            xgap=2 if len(grid.columns) * side_by_side <= MOST_LABELS else 1,
            ygap=2 if len(grid.rows) <= MOST_LABELS else 1,
            name="map",
        ),
        row=row,
        col=column,
    )
    _add_hatch(figure, matrices, grid, panel, at)
    _add_glyphs(figure, matrices, grid, panel, at, side_by_side, words)
    _label_axes(figure, grid, at)


def _add_hatch(figure: go.Figure, matrices: Sequence[Placed], grid: Grid, panel: Panel, at: tuple[int, int]) -> None:
    undefined = [number for number, value in enumerate(panel.values) if not np.isfinite(value)]
    if not undefined:
        return
    places = [grid.place[matrices[number].name] for number in undefined]
    shown = not _named(figure, "undefined")
    figure.add_trace(
        go.Bar(
            x=[column for _, column in places],
            y=[0.92] * len(places),
            base=[row - 0.46 for row, _ in places],
            width=0.92,
            marker={
                "color": "rgba(0,0,0,0)",
                "line": {"width": 1, "color": HATCH},
                "pattern": {"shape": "/", "fgcolor": HATCH, "size": 6, "solidity": 0.25},
            },
            hovertext=[panel.hovers[number] for number in undefined],
            hovertemplate="%{hovertext}<extra></extra>",
            name="undefined",
            legendgroup="undefined",
            showlegend=shown,
        ),
        row=at[0],
        col=at[1],
    )


def _add_glyphs(
    figure: go.Figure,
    matrices: Sequence[Placed],
    grid: Grid,
    panel: Panel,
    at: tuple[int, int],
    side_by_side: int,
    words: tuple[str, str],
) -> None:
    size = (14 if side_by_side == 1 else 11) if has_room(grid, side_by_side, 2) else 8
    # In a small cell the number needs the middle.
    lift = 0.0 if side_by_side == 1 else -0.28
    for (half, sign, colour, offset), word in zip(GLYPHS, words, strict=True):
        moved = np.flatnonzero(getattr(panel, half)).tolist()
        if not moved:
            continue
        places = [grid.place[matrices[number].name] for number in moved]
        shown = not _named(figure, f"{sign} {word}")
        figure.add_trace(
            go.Scatter(
                x=[column + offset for _, column in places],
                y=[row + lift for row, _ in places],
                mode="markers+text",
                text=[sign] * len(places),
                textfont={"color": "#ffffff", "size": size - 1, "weight": 700},
                marker={"color": colour, "size": size, "line": {"color": "#ffffff", "width": 1}},
                customdata=getattr(panel, half)[moved],
                hovertext=[panel.hovers[number] for number in moved],
                hovertemplate=f"%{{hovertext}}<br>%{{customdata}} {word}<extra></extra>",
                name=f"{sign} {word}",
                legendgroup=half,
                showlegend=shown,
            ),
            row=at[0],
            col=at[1],
        )


def _named(figure: go.Figure, name: str) -> bool:
    return any(getattr(trace, "name", None) == name for trace in figure.data)


def _label_axes(figure: go.Figure, grid: Grid, at: tuple[int, int]) -> None:
    x, y = (next(select(row=at[0], col=at[1])) for select in (figure.select_xaxes, figure.select_yaxes))
    layout = {}
    for labels, axis, limits in (
        (grid.columns, x, [-0.5, len(grid.columns) - 0.5]),
        (grid.rows, y, [len(grid.rows) - 0.5, -0.5]),
    ):
        every = -(-len(labels) // MOST_LABELS) or 1
        layout[axis.plotly_name] = {
            "tickvals": list(range(0, len(labels), every)),
            "ticktext": labels[::every],
            "range": limits,
            "showgrid": False,
            "zeroline": False,
        }
    figure.update_layout(layout)
