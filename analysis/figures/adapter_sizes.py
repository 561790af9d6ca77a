"""Error of an adapter against its size, and the overlap of many adapters."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go

from analysis.adapters import AdapterSpectra, Suggestion
from analysis.adapters.files import AdapterError
from analysis.adapters.many import Comparisons
from analysis.adapters.targets import BudgetProblem
from analysis.figures.adapters import UNFILLED, above_chance
from analysis.figures.scales import VIOLETS, even_scale, on_dark
from analysis.figures.theme import EXTENDED, PRUNED, capital, empty_figure, fitted, styled

MOST_POINTS = 400
"""Steps of a curve that are drawn."""
MOST_NAME = 20
"""Characters of an adapter's name beside its row; the rest of the width is for the cells."""


def size_curve(spectra: AdapterSpectra, chosen: Mapping[str, Suggestion] | None = None) -> go.Figure:
    """Draw the least error of ΔW against the number of parameters, and what was chosen (label → suggestion) on it."""
    title = "Error against size, one budget over all matrices"
    try:
        problem = BudgetProblem(spectra, "parameters", "least_error", 1, None)
    except AdapterError as error:
        return empty_figure(title, str(error))
    curve = problem.curve
    steps = np.unique(np.linspace(0, len(curve.owners), min(MOST_POINTS, len(curve.owners) + 1)).astype(int))
    lost = curve.lost[steps] / (problem.whole or 1.0)
    figure = go.Figure()
    figure.add_scatter(
        x=curve.price[steps] + problem.fixed,
        y=np.sqrt(np.minimum(lost, 1.0)),
        mode="lines",
        name="least error",
        line={"color": EXTENDED, "width": 2},
        hovertemplate="%{x:,} parameters<br>error %{y:.2%}<extra></extra>",
    )
    for label, one in (chosen or {}).items():
        figure.add_scatter(
            x=[one.parameters],
            y=[one.error],
            mode="markers",
            name=f"{label}: {one.by.replace('_', ' ')}",
            marker={"color": PRUNED, "size": 12, "symbol": "diamond"},
            # At either end it lies on an axis.
            cliponaxis=False,
            hovertemplate=f"{label}<br>%{{x:,}} parameters<br>error %{{y:.2%}}<extra></extra>",
        )
    styled(figure, title=title, x="parameters of all directions", y="‖ΔW − ΔW'‖_F / ‖ΔW‖_F")
    figure.update_xaxes(rangemode="tozero")
    # Where one spike holds nearly all of ΔW the errors of all the rest are below a percent.
    digits = max(0, math.ceil(-math.log10(np.sqrt(lost.max(initial=0.0)) or 1.0)) - 1)
    return figure.update_yaxes(tickformat=f".{digits}%", rangemode="tozero")


def overlap_matrix(
    compared: Comparisons, side: str = "output", layer: int | None = None, dark: bool = False
) -> go.Figure:
    """Draw the mean overlap of every two adapters as a matrix, over all matrices or those of one layer.

    ``side`` is ``output`` or ``input``, else ValueError. A cell says the overlap; its colour is how far that is above
    chance, as a share of what there is above it. ``dark``: the page is.
    """
    if side not in compared.overlaps:
        raise ValueError(f"unknown side {side!r}; choose output or input")
    values = compared.overall(side) if layer is None else compared.by_layer(side)[layer]
    rows = None if layer is None else compared.layers()[layer]
    chance = compared.chance(side, rows)
    above = [
        [np.nan if np.isnan(value) else above_chance(value, by) for value, by in zip(row, own, strict=True)]
        for row, own in zip(values, chance, strict=True)
    ]
    texts = [["–" if np.isnan(value) else f"{value:.2f}" for value in row] for row in values]
    scale, places = even_scale(VIOLETS, [np.ones(1)]), list(range(len(compared.names)))
    pairs = [[f"{first}<br>{second}" for second in compared.names] for first in compared.names]
    figure = go.Figure(
        go.Heatmap(
            z=above,
            x=places,
            y=places,
            text=texts,
            texttemplate="%{text}",
            customdata=np.dstack([values, chance]),
            hovertext=pairs,
            zmin=0,
            zmax=1,
            colorscale=(on_dark(scale) if dark else scale).colours,
            xgap=2,
            ygap=2,
            colorbar={"title": "above chance", "thickness": 12, "tickformat": ".0%"},
            hovertemplate="%{hovertext}<br>overlap %{customdata[0]:.3f}, by chance %{customdata[1]:.3f}<extra></extra>",
        )
    )
    where = "all matrices" if layer is None else f"layer {layer}"
    styled(figure, title=f"{capital(side)} overlap, {where}; colour: above chance", x="", y="")
    ends, told = [-0.5, len(places) - 0.5], [fitted(name, MOST_NAME) for name in compared.names]
    figure.update_xaxes(tickvals=places, ticktext=told, range=ends, showgrid=False)
    figure.update_yaxes(tickvals=places, ticktext=told, range=ends[::-1], showgrid=False)
    # A pair without a number has no colour of the scale, and would sink into the page.
    return figure.update_layout(height=140 + 60 * max(3, len(places)), **UNFILLED)


ADAPTER_SIZE_FIGURES = {figure.__name__: figure for figure in (size_curve, overlap_matrix)}
