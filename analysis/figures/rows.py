"""When it happened: a row a matrix."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby

import numpy as np
import plotly.graph_objects as go

from analysis.figures.curves import MOST_COLUMNS, of_records
from analysis.figures.maps import map_scale
from analysis.figures.theme import NO_RECORDS, STEP, capital, empty_figure, styled
from analysis.metrics import matrix_label
from analysis.order import sorted_matrices
from analysis.quantities import quantity, selected_records
from analysis.runs import Matrix, Run
from analysis.tables import TABLES
from analysis.tables.columns import numbers

MOST_LABELS = 48
UNDEFINED = "#c4c4c4"
GROUPS: dict[str, Callable[[Matrix], str]] = {
    "architecture": lambda matrix: matrix.module_type,
    "layer": lambda matrix: "no layer" if matrix.layer is None else f"layer {matrix.layer}",
}
"""Order that makes groups → the name of a matrix's group."""


def strip(run: Run, colour: str = "entropy", sort: str = "architecture", since: int | None = None) -> go.Figure:
    """Draw one quantity of every matrix over time, a row a matrix; grey is undefined.

    Args:
        run: a loaded run.
        colour: key of ``QUANTITIES``, else ValueError.
        sort: key of ``analysis.order.SORTS``, else ValueError.
        since: step that change is counted from; None = the first record.
    """
    asked, order = quantity(colour), sorted_matrices(run, sort)
    title = f"{capital(asked.label)} over time"
    if not len(run.steps):
        return empty_figure(title, NO_RECORDS)
    drawn = selected_records(run, MOST_COLUMNS)
    z = numbers(TABLES["strip"](run, colour, sort, since), asked.column).reshape(run.ranks.shape)[drawn].T
    steps = run.steps[drawn]
    # A record holds until the next one: its cell reaches from its own step to there.
    edges = np.append(steps, steps[-1] + (max(1, int(np.median(np.diff(steps)))) if len(steps) > 1 else 1))
    figure = go.Figure()
    cells = {"x": edges, "y": [run.matrices[place].name for place in order]}
    if not np.isfinite(z).all():
        figure.add_heatmap(
            **cells,
            z=np.where(np.isfinite(z), np.nan, 0.0).astype(np.float32),
            colorscale=[[0, UNDEFINED], [1, UNDEFINED]],
            showscale=False,
            name="undefined",
            showlegend=True,
            hovertemplate="%{y}<br>step %{x}<br>undefined<extra></extra>",
        )
    told = f"%{{y}}<br>step %{{x}}<br>{asked.label} %{{z:.4g}}<extra></extra>"
    figure.add_heatmap(**cells, z=z, coloraxis="coloraxis", name=asked.label, hovertemplate=told, hoverongaps=False)
    styled(figure, title=title + of_records(run, len(drawn)), x=STEP, y="")
    figure.update_xaxes(showgrid=False, range=[int(edges[0]), max(int(edges[-1]), run.total_steps)])
    _label_rows(figure, [run.matrices[place] for place in order], GROUPS.get(sort))
    axis = map_scale([run], colour, since).axis(asked.label)
    return figure.update_layout(height=min(860, 150 + max(220, 9 * len(order))), margin={"l": 130}, coloraxis=axis)


def _label_rows(figure: go.Figure, matrices: list[Matrix], group: Callable[[Matrix], str] | None) -> None:
    """Name groups where the order makes any, else single rows."""
    sizes = [(name, len(list(own))) for name, own in groupby(matrices, group or matrix_label)]
    ends = np.cumsum([size for _, size in sizes])
    every = -(-len(sizes) // MOST_LABELS)
    middles = [float(end - size / 2 - 0.5) for end, (_, size) in zip(ends, sizes, strict=True)]
    figure.update_yaxes(tickvals=middles[::every], ticktext=[name for name, _ in sizes][::every])
    if group and every == 1:
        for end in ends[:-1].tolist():
            figure.add_hline(y=end - 0.5, line={"color": "#ffffff", "width": 2})
    ends = [len(matrices) - 0.5, -0.5]
    figure.update_yaxes(type="category", range=ends, showgrid=False, tickfont={"size": 10}, title=None)
