"""A number over time, group by group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from analysis.figures.looks import variant_style, veil
from analysis.figures.painters import curve, panels, spread_marks
from analysis.figures.theme import capital, empty_figure
from analysis.study import CURVES, Band

BAND_OPACITY = 0.16


def group_bands(bands: Sequence[Band]) -> go.Figure:
    """Draw the mean of each group over the step, with the 95 % interval of the mean at each step as a band."""
    if not any(len(band.steps) for band in bands):
        return empty_figure("Groups over time", "Nothing of this is in the logs of every run of a group.")
    label = bands[0].label
    figure = panels(f"{capital(label)}, mean over seeds", [label], 440)
    for number, band in enumerate(bands):
        _add_band(figure, band, number, CURVES[band.curve].held)
    # A level far from 0 needs no 0 in view.
    figure.update_yaxes(rangemode="normal")
    if bands[0].curve == "churn":
        figure.update_yaxes(range=[-0.02, 1.02], tickformat=".0%")
    return figure.update_layout(legend={"itemsizing": "constant", "y": -0.18})


def _add_band(figure: go.Figure, band: Band, number: int, held: bool) -> None:
    style, name = variant_style(band.group.method, band.group.number), band.group.label
    shape, count = "hv" if held else "linear", len(band.steps)
    known = np.isfinite(band.low)
    if known.any():
        around = {"hoverinfo": "skip", "showlegend": False, "legendgroup": name, "mode": "lines"}
        line = {"width": 0.6, "color": veil(style["color"], 0.5), "shape": shape, "dash": style["dash"]}
        steps = band.steps[known]
        figure.add_scatter(x=steps, y=band.high[known], name=f"{name}, high", line=line, **around)
        fill: dict[str, Any] = {"fill": "tonexty", "fillcolor": veil(style["color"], BAND_OPACITY)}
        figure.add_scatter(x=steps, y=band.low[known], name=f"{name}, low", line=line, **fill, **around)
    sizes = np.zeros(count)
    sizes[spread_marks(count, number)] = 8
    marker = {"symbol": style["symbol"], "size": sizes, "color": style["color"], "line": {"width": 0}}
    if "open" in style["symbol"]:
        marker["line"] = {"width": np.where(sizes > 0, 1.5, 0.0), "color": style["color"]}
    ends = np.stack([band.low, band.high], axis=1)
    told = f"%{{y:.4g}} [%{{customdata[0]:.4g}}, %{{customdata[1]:.4g}}], {band.n} seeds"
    look: dict[str, Any] = {"mode": "lines+markers", "marker": marker, "legendgroup": name, "customdata": ends}
    curve(figure, band.steps, band.mean, name, style["color"], dash=style["dash"], shape=shape, told=told, **look)
