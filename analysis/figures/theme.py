"""Colours and layout that every figure shares: colour-blind safe, and legible on white and on near-black."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

# Okabe and Ito (2008), without the yellow that vanishes on white; the grey leads for what is background.
PRUNED = "#D55E00"
EXTENDED = "#0072B2"
TRUE = "#7F7F7F"
SEQUENCE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C6BB1", "#999933")

METHOD_LOOKS = {
    "flexlora": ("#0072B2", "circle"),
    "lora": ("#7F7F7F", "square"),
    "adalora": ("#E69F00", "diamond"),
    "elalora": ("#D55E00", "cross"),
    "l1ra": ("#009E73", "x"),
    "salora": ("#CC79A7", "triangle-up"),
    "autolora": ("#56B4E9", "triangle-down"),
    "sora": ("#8C6BB1", "star"),
    "dora_dynamic": ("#999933", "pentagon"),
    "big_then_cut": ("#5E9C1F", "triangle-left"),
    "dylora": ("#AA4466", "hexagram"),
    "mlae": ("#44AA99", "bowtie"),
}
"""Method → colour and symbol in every figure: a line is found without its colour.

The first eight colours are Okabe and Ito's, three of Paul Tol's muted ones.
"""

OTHER_METHOD = "#A0785A", "hourglass"
MOVES = (("prune", PRUNED, "x", "pruned", "switched off"), ("extend", EXTENDED, "circle-open", "extended", "back on"))
"""Half of an event → colour, symbol, what it is called, and what where the direction stays stored."""
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
PATTERNS = ("", "/", "\\", "x", ".", "-", "|", "+")
STEP = "step (finished optimizer steps)"

CONFIG = {"displaylogo": False, "showSendToCloud": False, "toImageButtonOptions": {"format": "svg"}}
"""Plotly configuration for pages and written files: SVG export in the browser, nothing sent anywhere."""


def styled(figure: go.Figure, *, title: str, x: str, y: str) -> go.Figure:
    """Apply the shared layout to a figure, and return it.

    The title says what is shown, not what to conclude; ``x`` and ``y`` are the titles of the axes with their units.
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
    """Return color, dash and symbol of a run; what is no key of ``METHODS`` has one colour of its own.

    ``number`` is how many runs of the same method come before it: each later one has another dash.
    """
    colour, symbol = METHOD_LOOKS.get(method or "", OTHER_METHOD)
    return {"color": colour, "symbol": symbol, "dash": DASHES[number % len(DASHES)]}


def empty_figure(title: str, why: str) -> go.Figure:
    """Return a figure without data that says why there is none."""
    figure = styled(go.Figure(), title=title, x="", y="")
    figure.update_xaxes(visible=False).update_yaxes(visible=False)
    figure.add_annotation(text=why, x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False, font={"size": 14})
    return figure.update_layout(height=260)


def names_of(figure: go.Figure) -> set[str]:
    """Return the names of what a figure draws."""
    return {getattr(trace, "name", "") for trace in figure.data}


def capital(text: str) -> str:
    """Return a text that begins with a capital letter."""
    return f"{text[0].upper()}{text[1:]}"


def fitted(name: str, most: int) -> str:
    """Return a name of at most so many characters: names of one folder begin and end apart, so the middle goes."""
    half = (most - 1) // 2
    return name if len(name) <= most else f"{name[: most - 1 - half]}…{name[-half:]}"


NO_RECORDS = "This run has no records yet."
