"""Total rank over time, many runs in one picture."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go

from analysis.figures.theme import method_style, styled
from analysis.metrics import total_rank as total_of
from analysis.runs import Run

SYMBOLS = ("circle", "square", "diamond", "cross", "x", "triangle-up", "triangle-down", "star", "pentagon", "hexagram")
MARKS = 7
"""Symbols on a line: enough to follow it without its colour, too few to hide another."""
SAME = 0.05
"""Directions: a mean that is closer to the rank says nothing new."""


def total_rank(runs: Mapping[str, Run]) -> go.Figure:
    """Draw the total rank of each run against the step.

    Every run has its own symbol and every method its own colour, later runs of a method another dash. Thin and dashed
    in the same colour: the mean number of directions that a training step uses, where that differs from the rank.

    Args:
        runs: label → run, in the order of the legend.
    """
    figure = go.Figure()
    seen: dict[str | None, int] = {}
    for number, (label, run) in enumerate(runs.items()):
        if not len(run.steps):
            continue
        method = run.header.get("method")
        style = method_style(method, seen.get(method, 0))
        seen[method] = seen.get(method, 0) + 1
        colour = style["color"]
        totals = total_of(run)
        figure.add_scatter(
            x=run.steps,
            y=totals,
            name=label,
            legendgroup=label,
            mode="lines",
            line={"color": colour, "width": 2, "dash": style["dash"], "shape": "hv"},
            hovertemplate=f"{label}<br>step %{{x}}<br>total rank %{{y}}<extra></extra>",
            showlegend=False,
        )
        _add_marks(figure, run, label, number, colour, totals)
        _add_mean(figure, run, label, colour, totals)
    styled(figure, title="Total rank", x="step (finished optimizer steps)", y="directions, all matrices")
    figure.update_layout(legend={"orientation": "v", "x": 1.01, "y": 1.0}, margin={"r": 170})
    return figure.update_yaxes(rangemode="tozero")


def _add_marks(figure: go.Figure, run: Run, label: str, number: int, colour: str, totals: np.ndarray) -> None:
    # Shifted from run to run, so that symbols on lines that coincide stand beside each other.
    places = (np.arange(MARKS) + (number % len(SYMBOLS)) / len(SYMBOLS)) / MARKS * len(run.steps)
    chosen = np.unique(places.astype(np.int64))
    figure.add_scatter(
        x=run.steps[chosen],
        y=totals[chosen],
        name=label,
        legendgroup=label,
        mode="lines+markers",
        line={"color": colour, "width": 0},
        marker={"symbol": SYMBOLS[number % len(SYMBOLS)], "size": 9, "color": colour},
        hoverinfo="skip",
    )


def _add_mean(figure: go.Figure, run: Run, label: str, colour: str, totals: np.ndarray) -> None:
    means = run.expected_ranks.sum(axis=1)
    if np.abs(means - totals).max() <= SAME:
        return
    figure.add_scatter(
        x=run.steps,
        y=means,
        name=f"{label}: used a step",
        legendgroup=label,
        mode="lines",
        line={"color": colour, "width": 1.25, "dash": "dash", "shape": "hv"},
        hovertemplate=f"{label}<br>step %{{x}}<br>%{{y:.1f}} used in a training step, on average<extra></extra>",
    )
