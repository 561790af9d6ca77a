"""The painter of maps of layer × module type: colour, number, hatch for undefined, − and + of an event."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.adapters import AdapterMatrix
from analysis.figures.scales import Scale
from analysis.figures.theme import EXTENDED, PRUNED, TRUE, names_of, styled
from analysis.runs import Matrix
from flexlora.matrix_names import module_type_order, place_label
from flexlora.matrix_places import natural_order

MANY_LAYERS = 20
"""More layers than this lie along x, as in the player."""
MOST_LABELS = 40
MOST_CELLS_WITH_TEXT = (30, 40)
"""Columns and rows, all maps of a figure side by side, up to which a cell has room for a short number."""
ROW_PX, MIN_PX, MAX_PX = 34, 300, 860
TICK_PX = 16
"""Room that a number beside the bar takes."""
HATCH = "rgba(127,127,127,0.75)"
CLEAR = "rgba(0,0,0,0)"
GLYPHS = (("pruned", "−", PRUNED, -0.34), ("extended", "+", EXTENDED, 0.34))
"""Half of an event → its sign, colour, and where in the cell it stands."""
TARGETS_IN_CELL = (-0.36, -0.12, 0.12, 0.36)
"""A cell is wider than a marker: it has several, so that a click anywhere in it is found."""


Placed: TypeAlias = Matrix | AdapterMatrix
"""A matrix that has a place in a model."""


class Grid(NamedTuple):
    """Where each matrix stands: row and column labels, name → (row, column), and whether layers lie along x."""

    rows: list[str]
    columns: list[str]
    place: dict[str, tuple[int, int]]
    sideways: bool = False

    def places(self, matrices: Sequence[Placed]) -> np.ndarray:
        """Return (row, column) of each matrix, (M, 2)."""
        return np.array([self.place[matrix.name] for matrix in matrices], np.int64).reshape(-1, 2)


class Panel(NamedTuple):
    """One map.

    Attributes:
        values: (M,) NaN = undefined: hatched, or its text in place of a colour.
        texts: what each cell says where there is room.
        told: what the pointer finds in each, after the matrix.
        title: over the map, where there are several.
        axis: name of the layout's colour axis.
        pruned: (M,) directions that the event prunes; None = no event.
        extended: (M,) directions that the event extends.
    """

    values: np.ndarray
    texts: Sequence[str]
    told: Sequence[str]
    title: str = ""
    axis: str = "coloraxis"
    pruned: np.ndarray | None = None
    extended: np.ndarray | None = None


class Row(NamedTuple):
    """A row of a map: a block by its name, or a layer by its number."""

    block: str
    layer: int | None

    @property
    def order(self) -> list[tuple[int, int, str]]:
        """What to sort rows by: blocks in natural order, layers by number."""
        return natural_order(self.block) if self.block else [(0, self.layer or 0, "")]


def row_of_matrix(matrix: Placed) -> Row:
    """Return the row in which a matrix stands."""
    block = getattr(matrix, "block", "")
    return Row(block, None if block else matrix.layer)


def adapter_grid(matrices: Sequence[Placed]) -> Grid:
    """Return layer × module type, or block × module type where a model has several stacks of layers.

    Matrices that would share a cell get columns of their own.
    """
    seen: dict[tuple[Row, str], int] = {}
    column_of: dict[str, tuple[str, int]] = {}
    row_of = {matrix.name: row_of_matrix(matrix) for matrix in matrices}
    for matrix in matrices:
        row = row_of[matrix.name]
        number = seen.get((row, matrix.module_type), 0)
        seen[row, matrix.module_type] = number + 1
        column_of[matrix.name] = (matrix.module_type, number)
    layers = sorted(set(row_of.values()), key=lambda row: (row.block == "" and row.layer is None, row.order))
    order = {kind: place for place, kind in enumerate(module_type_order({m.module_type for m in matrices}))}
    columns = sorted(set(column_of.values()), key=lambda column: (order[column[0]], column[1]))
    rows = [row.block or ("–" if row.layer is None else str(row.layer)) for row in layers]
    labels = [kind if not number else f"{kind} ({number + 1})" for kind, number in columns]
    at = {row: number for number, row in enumerate(layers)}, {column: number for number, column in enumerate(columns)}
    place = {m.name: (at[0][row_of[m.name]], at[1][column_of[m.name]]) for m in matrices}
    return Grid(rows, labels, place)


def map_grid(matrices: Sequence[Placed]) -> Grid:
    """Return layer × module type, or module type × layer for more than 20 layers."""
    grid = adapter_grid(matrices)
    if len(grid.rows) <= MANY_LAYERS:
        return grid
    return Grid(grid.columns, grid.rows, {name: (column, row) for name, (row, column) in grid.place.items()}, True)


def has_room(grid: Grid, side_by_side: int, characters: int) -> bool:
    """Return True when every cell can hold a text of so many characters."""
    columns, rows = MOST_CELLS_WITH_TEXT
    return len(grid.columns) * side_by_side * max(1.0, characters / 2.5) <= columns and len(grid.rows) <= rows


def number_text(value: float, form: str) -> str:
    """Return a number as a cell says it; ``s`` is a count with k or M, ``g`` a size likewise; undefined is empty."""
    if not np.isfinite(value):
        return ""
    if form == "s":
        return f"{value / 1e6:.3g}M" if value >= 1e6 else f"{value / 1e3:.3g}k" if value >= 1e3 else f"{value:.0f}"
    if form == "g":
        return number_text(value, "s") if value >= 1e3 else f"{value:.2g}" if value < 99.5 else f"{value:.0f}"
    return "0" if form == "+.0f" and not value else f"{value:{form}}".replace("-", "−")


def draw_maps(
    title: str,
    matrices: Sequence[Placed],
    panels: Sequence[Panel],
    scales: Sequence[tuple[Scale, str | None]],
    *,
    grid: Grid | None = None,
    words: tuple[str, str] = ("pruned", "extended"),
    clickable: bool = False,
    selected: str | None = None,
) -> go.Figure:
    """Draw maps that share their cells: up to three side by side, or one above another where layers lie along x.

    Args:
        title: of the figure.
        matrices: in the order of the panels' arrays.
        panels: one or more.
        scales: scale and title of ``coloraxis``, ``coloraxis2``, ...; None = its bar is not shown.
        grid: where the cells stand; None = ``map_grid``.
        words: what a prune and an extension are called.
        clickable: a click finds the name of the matrix.
        selected: name of the matrix whose cell has a frame.
    """
    grid = grid or map_grid(matrices)
    places = grid.places(matrices)
    side = 1 if grid.sideways else min(3, len(panels))
    rows = -(-len(panels) // side)
    figure = make_subplots(
        rows=rows,
        cols=side,
        subplot_titles=[panel.title for panel in panels] if panels[0].title else None,
        horizontal_spacing=0.06 if side > 1 else 0,
        vertical_spacing=0.22 / rows,
    )
    styled(figure, title=title, x="", y="")
    for number, panel in enumerate(panels):
        at = {"row": number // side + 1, "col": number % side + 1}
        labels = [f"{_label(matrix)}<br>{matrix.name}" for matrix in matrices]
        own = panel._replace(told=[f"{label}<br>{told}" for label, told in zip(labels, panel.told, strict=True)])
        _add_cells(figure, grid, places, own, at, side)
        _add_undefined(figure, places, own, at)
        _add_glyphs(figure, grid, places, own, at, side, words)
        _label_axes(figure, grid, at)
        if clickable:
            _add_targets(figure, matrices, places, own, at)
    if selected in grid.place:
        _add_frame(figure, *grid.place[selected])
    layer = "block" if any(getattr(matrix, "block", "") for matrix in matrices) else "layer"
    names = (layer, "module type") if grid.sideways else ("module type", layer)
    for axis, name in zip((figure.update_xaxes, figure.update_yaxes), names, strict=True):
        axis(title=None if panels[0].title else name, showgrid=False)
    row_px = max(10, min(ROW_PX, MAX_PX // max(1, len(grid.rows) * rows)))
    height = int(max(MIN_PX, 150 + rows * (60 + row_px * len(grid.rows))))
    figure.update_layout(_colour_axes(scales, height - 150))
    margin = {"t": 70 if panels[0].title else 44, "b": 80}
    figure.update_layout(height=height, margin=margin, barmode="overlay", legend={"y": -0.16, "yanchor": "top"})
    return figure.update_annotations(font={"size": 12})


def _add_frame(figure: go.Figure, row: int, column: int) -> None:
    ends = {"x0": column - 0.5, "x1": column + 0.5, "y0": row - 0.5, "y1": row + 0.5}
    figure.add_shape(type="rect", **ends, line={"color": PRUNED, "width": 3})


def _label(matrix: Placed) -> str:
    block = getattr(matrix, "block", "")
    return f"{block} {matrix.module_type}" if block else place_label(matrix.layer, matrix.module_type)


def summed(grid: Grid, matrices: Sequence[Placed], ranks: np.ndarray) -> Grid:
    """Return the grid with how much rank each row and column holds in its label; layers along x have no room."""
    rows, columns = grid.places(matrices).T
    told = {}
    for name, labels, places, between in (("rows", grid.rows, rows, " · "), ("columns", grid.columns, columns, "<br>")):
        sums = np.bincount(places, ranks, len(labels)).astype(np.int64).tolist()
        told[name] = [f"{label}{between}Σ {total}" for label, total in zip(labels, sums, strict=True)]
    return grid._replace(rows=told["rows"], columns=grid.columns if grid.sideways else told["columns"])


def _add_cells(figure: go.Figure, grid: Grid, places: np.ndarray, panel: Panel, at: dict[str, Any], side: int) -> None:
    shape = (len(grid.rows), len(grid.columns))
    z, text, hover = np.full(shape, np.nan), np.full(shape, "", object), np.full(shape, "", object)
    for place, value, told, found in zip(map(tuple, places), panel.values, panel.texts, panel.told, strict=True):
        z[place], text[place], hover[place] = value, told if np.isfinite(value) else "", found
    longest = max((len(told) for told in panel.texts), default=0)
    figure.add_heatmap(
        z=z,
        text=text,
        texttemplate="%{text}" if has_room(grid, side, longest) else None,
        hovertext=hover,
        hovertemplate="%{hovertext}<extra></extra>",
        coloraxis=panel.axis,
        xgap=2 if shape[1] * side <= MOST_LABELS else 1,
        ygap=2 if shape[0] <= MOST_LABELS else 1,
        name="map",
        **at,
    )


def _add_undefined(figure: go.Figure, places: np.ndarray, panel: Panel, at: dict[str, Any]) -> None:
    """Hatch what is undefined, or write the word that says why there is no number."""
    blank = np.flatnonzero(~np.isfinite(panel.values)).tolist()
    worded = [number for number in blank if panel.texts[number]]
    hatched = [number for number in blank if not panel.texts[number]]
    if worded:
        rows, columns = places[worded].T
        words: dict[str, Any] = {"text": [panel.texts[number] for number in worded], "textfont": {"color": TRUE}}
        figure.add_scatter(x=columns, y=rows, mode="text", **words, hoverinfo="skip", showlegend=False, **at)
    if hatched:
        rows, columns = places[hatched].T
        pattern = {"shape": "/", "fgcolor": HATCH, "size": 6, "solidity": 0.25}
        figure.add_bar(
            x=columns,
            y=[0.92] * len(hatched),
            base=rows - 0.46,
            width=0.92,
            marker={"color": CLEAR, "line": {"width": 1, "color": HATCH}, "pattern": pattern},
            hovertext=[panel.told[number] for number in hatched],
            hovertemplate="%{hovertext}<extra></extra>",
            **_grouped(figure, "undefined"),
            **at,
        )


def _add_glyphs(
    figure: go.Figure,
    grid: Grid,
    places: np.ndarray,
    panel: Panel,
    at: dict[str, Any],
    side: int,
    words: tuple[str, str],
) -> None:
    size = (14 if side == 1 else 11) if has_room(grid, side, 2) else 8
    for (half, sign, colour, offset), word in zip(GLYPHS, words, strict=True):
        counts: np.ndarray | None = getattr(panel, half)
        moved = [] if counts is None else np.flatnonzero(counts).tolist()
        if counts is None or not moved:
            continue
        rows, columns = places[moved].T
        figure.add_scatter(
            x=columns + offset,
            # In a small cell the number needs the middle.
            y=rows - (0.0 if side == 1 else 0.28),
            mode="markers+text",
            text=[sign] * len(moved),
            textfont={"color": "#ffffff", "size": size - 1, "weight": 700},
            marker={"color": colour, "size": size, "line": {"color": "#ffffff", "width": 1}},
            customdata=counts[moved],
            hovertext=[panel.told[number] for number in moved],
            hovertemplate=f"%{{hovertext}}<br>%{{customdata}} {word}<extra></extra>",
            **_grouped(figure, f"{sign} {word}"),
            **at,
        )


def _add_targets(
    figure: go.Figure, matrices: Sequence[Placed], places: np.ndarray, panel: Panel, at: dict[str, Any]
) -> None:
    """Add what a click finds: cells of a heatmap cannot be selected."""
    count, unseen = len(TARGETS_IN_CELL), {"marker": {"opacity": 0}}
    figure.add_scatter(
        x=np.repeat(places[:, 1], count) + np.tile(TARGETS_IN_CELL, len(matrices)),
        y=np.repeat(places[:, 0], count),
        customdata=[[matrix.name] for matrix in matrices for _ in TARGETS_IN_CELL],
        text=np.repeat(np.array(panel.told, object), count),
        hovertemplate="%{text}<extra></extra>",
        mode="markers",
        marker={"size": 22, "symbol": "square", "color": CLEAR, "line": {"width": 0}},
        selected=unseen,
        unselected=unseen,
        showlegend=False,
        **at,
    )
    figure.update_layout(clickmode="event+select")


def _colour_axes(scales: Sequence[tuple[Scale, str | None]], px: int) -> dict[str, Any]:
    """Return the colour axes; two rows of cells have room for a few numbers beside the bar only."""
    found = {}
    for number, (scale, told) in enumerate(scales):
        beside: dict[str, Any] = {"x": 1.13} if number and scales[0][1] is not None else {}
        if "dtick" in scale.ticks:
            thinned = (scale.high - scale.low) / scale.ticks["dtick"] * TICK_PX / px
            beside["dtick"] = scale.ticks["dtick"] * max(1, math.ceil(thinned))
        axis = {**scale.axis(told or "", **beside), "showscale": told is not None}
        found[f"coloraxis{number + 1 if number else ''}"] = axis
    return found


def _grouped(figure: go.Figure, name: str) -> dict[str, Any]:
    """One entry of the legend for all panels."""
    return {"name": name, "legendgroup": name, "showlegend": name not in names_of(figure)}


def _label_axes(figure: go.Figure, grid: Grid, at: dict[str, Any]) -> None:
    for update, labels, ends in (
        (figure.update_xaxes, grid.columns, [-0.5, len(grid.columns) - 0.5]),
        (figure.update_yaxes, grid.rows, [len(grid.rows) - 0.5, -0.5]),
    ):
        every = -(-len(labels) // MOST_LABELS) or 1
        ticks = list(range(0, len(labels), every))
        update(tickvals=ticks, ticktext=labels[::every], range=ends, showgrid=False, zeroline=False, **at)
