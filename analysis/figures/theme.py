"""Colours and layout that every figure shares: colour-blind safe, and legible on white and on near-black."""

from __future__ import annotations

import plotly.graph_objects as go

# Okabe and Ito (2008), without the yellow that vanishes on white; the grey leads for what is background.
PRUNED = "#D55E00"
EXTENDED = "#0072B2"
TRUE = "#7F7F7F"
SEQUENCE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C6BB1", "#999933")

CONFIG = {"displaylogo": False, "showSendToCloud": False, "toImageButtonOptions": {"format": "svg"}}
"""Plotly configuration for pages and written files: SVG export in the browser, nothing sent anywhere."""


def styled(figure: go.Figure, *, title: str, x: str, y: str) -> go.Figure:
    """Apply the shared layout.

    Args:
        figure: changed in place and returned.
        title: says what is shown, not what to conclude.
        x: axis title with its unit.
        y: axis title with its unit.
    """
    grid = "rgba(127,127,127,0.25)"
    figure.update_layout(
        title={"text": title, "x": 0, "font": {"size": 15}},
        margin={"l": 60, "r": 16, "t": 44, "b": 48},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        legend={"orientation": "h", "y": -0.2},
        hovermode="closest",
    )
    figure.update_xaxes(title=x, gridcolor=grid, zeroline=False)
    figure.update_yaxes(title=y, gridcolor=grid, zeroline=False)
    return figure
