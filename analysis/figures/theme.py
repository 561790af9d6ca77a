"""Colours and layout that every figure shares: colour-blind safe, and legible on white and on near-black."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

# Okabe and Ito (2008), without the yellow that vanishes on white; the grey leads for what is background.
PRUNED = "#D55E00"
EXTENDED = "#0072B2"
TRUE = "#7F7F7F"
SEQUENCE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C6BB1", "#999933")

METHOD_COLOURS = {
    "flexlora": "#0072B2",
    "lora": "#7F7F7F",
    "adalora": "#E69F00",
    "elalora": "#D55E00",
    "l1ra": "#009E73",
    "salora": "#CC79A7",
    "autolora": "#56B4E9",
    "sora": "#8C6BB1",
    "dora_dynamic": "#999933",
    "big_then_cut": "#3B4CC0",
    "dylora": "#AA4466",
    "mlae": "#44AA99",
}
"""Method → its colour in every figure; the first eight after Okabe and Ito, three of Paul Tol's muted ones."""

METHOD_SYMBOLS = {
    "flexlora": "circle",
    "lora": "square",
    "adalora": "diamond",
    "elalora": "cross",
    "l1ra": "x",
    "salora": "triangle-up",
    "autolora": "triangle-down",
    "sora": "star",
    "dora_dynamic": "pentagon",
    "big_then_cut": "triangle-left",
    "dylora": "hexagram",
    "mlae": "bowtie",
}
"""Method → its symbol: a line is found without its colour."""

OTHER_COLOUR, OTHER_SYMBOL = "#A0785A", "hourglass"
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
PATTERNS = ("", "/", "\\", "x", ".", "-", "|", "+")
STEP = "step (finished optimizer steps)"

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
        # By itself its ground is a shade of the paper's colour: of transparent black, a dark bar on a light page.
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": "rgba(127,127,127,0.9)", "activecolor": "rgb(0,114,178)"},
        hovermode="closest",
    )
    figure.update_xaxes(title=x, gridcolor=grid, zeroline=False)
    figure.update_yaxes(title=y, gridcolor=grid, zeroline=False)
    return figure


def method_style(method: str | None, number: int = 0) -> dict[str, Any]:
    """Return color, dash and symbol of a run.

    Args:
        method: key of ``flexlora.methods.METHODS``; any other has one colour of its own.
        number: how many runs of the same method come before it: each later one has another dash.
    """
    return {
        "color": METHOD_COLOURS.get(method or "", OTHER_COLOUR),
        "symbol": METHOD_SYMBOLS.get(method or "", OTHER_SYMBOL),
        "dash": DASHES[number % len(DASHES)],
    }


def empty_figure(title: str, why: str) -> go.Figure:
    """Return a figure without data that says why there is none."""
    figure = styled(go.Figure(), title=title, x="", y="")
    figure.update_xaxes(visible=False).update_yaxes(visible=False)
    figure.add_annotation(text=why, x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False, font={"size": 14})
    return figure.update_layout(height=260)


NO_RECORDS = "This run has no records yet."
