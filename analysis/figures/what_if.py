"""Decisions of a run beside those of a replay: a map of moves, their number over time, final ranks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from analysis.figures.adapters import grid_map
from analysis.figures.scales import CHANGE
from analysis.figures.theme import SEQUENCE, TRUE, styled
from analysis.metrics import matrix_label
from analysis.runs import Matrix
from analysis.what_if import Decisions, Difference

BOTH, ACTUAL, OTHER = TRUE, SEQUENCE[1], SEQUENCE[0]
PARTS = {
    "both": ("both", BOTH, "", ""),
    "only_actual": ("only as it was", ACTUAL, "-open", "/"),
    "only_other": ("only what-if", OTHER, "", "x"),
}
"""Part of a difference → label, colour, suffix of the symbol, pattern of the bar."""
LABELLED_ROWS = 60
MAX_HEIGHT_PX = 900


def decision_map(difference: Difference, matrices: Sequence[Matrix]) -> go.Figure:
    """Draw every move at (step, matrix): ▼ pruned, ▲ extended; filled = both, open = only as it was, star = what-if.

    Args:
        difference: of a run and a replay.
        matrices: of the run.
    """
    figure = go.Figure()
    labels = [matrix_label(matrix) for matrix in matrices]
    for part, (label, colour, suffix, _) in PARTS.items():
        table: np.ndarray = getattr(difference, part)
        for half, (shape, word) in enumerate((("triangle-down", "prune"), ("triangle-up", "extend"))):
            event, matrix = np.nonzero(table[:, :, half])
            symbol = f"star-{shape}" if part == "only_other" else f"{shape}{suffix}"
            figure.add_scatter(
                x=difference.steps[event],
                # Beside each other where one matrix does both in one event.
                y=matrix + (0.18 if half == 0 else -0.18),
                mode="markers",
                name=f"{word}, {label}",
                marker={"symbol": symbol, "color": colour, "size": 8, "line": {"width": 1.2, "color": colour}},
                text=[labels[number] for number in matrix],
                hovertemplate=f"step %{{x}}<br>%{{text}}<br>{word}: {label}<extra></extra>",
            )
    count = len(matrices)
    styled(figure, title="Moves: as it was, and what-if", x="step", y="matrix")
    figure.update_layout(
        height=int(min(MAX_HEIGHT_PX, 150 + max(220, 13 * count))),
        margin={"l": 130, "t": 76},
        legend={"y": 1.0, "yanchor": "bottom"},
    )
    every = max(1, count // LABELLED_ROWS)
    return figure.update_yaxes(
        tickvals=list(range(0, count, every)),
        ticktext=labels[::every],
        range=[count - 0.5, -0.5],
        tickfont={"size": 9},
        title=None,
    )


def agreement_bars(difference: Difference) -> go.Figure:
    """Draw, event by event, how many moves both make and how many only one of them."""
    figure = go.Figure()
    for part, (label, colour, _, pattern) in PARTS.items():
        counts = getattr(difference, part).sum(axis=(1, 2))
        figure.add_bar(
            x=difference.steps,
            y=counts,
            name=label,
            marker={"color": colour, "pattern": {"shape": pattern, "size": 5, "solidity": 0.4}},
            hovertemplate=f"step %{{x}}<br>%{{y}} moves: {label}<extra></extra>",
        )
    styled(figure, title="Moves of each event", x="step", y="moves (prunes and extensions)")
    return figure.update_layout(barmode="stack", height=300, bargap=0.15)


def moves_over_time(actual: Decisions, others: dict[str, Decisions]) -> go.Figure:
    """Draw how many directions had been moved up to each event; what a replay says is dashed.

    Args:
        actual: what the run did.
        others: label → replay.
    """
    figure = go.Figure()
    for number, (label, own) in enumerate({"as it was": actual, **others}.items()):
        moves = np.maximum(own.prune.sum(axis=1), own.extend.sum(axis=1))
        figure.add_scatter(
            x=own.steps,
            y=np.cumsum(moves),
            name=label,
            mode="lines",
            line={
                "shape": "hv",
                "width": 2,
                "color": (TRUE, OTHER, SEQUENCE[2], SEQUENCE[3])[number % 4],
                "dash": ("solid", "dash", "dot", "dashdot")[number % 4],
            },
            hovertemplate=f"{label}<br>step %{{x}}<br>%{{y}} directions moved<extra></extra>",
        )
    styled(figure, title="Directions moved so far", x="step", y="directions")
    return figure.update_layout(height=300)


def rank_difference_map(difference: Difference, matrices: Sequence[Matrix], title: str) -> go.Figure:
    """Draw how many more directions each matrix has in the end than in the run.

    Raises:
        ValueError: decisions that do not build on each other have no final ranks.
    """
    if difference.rank_difference is None:
        raise ValueError("decisions that do not build on each other have no final ranks")
    values: dict[str, float | None] = dict(zip(difference.names, difference.rank_difference.tolist(), strict=True))
    texts = {name: f"{value:+.0f}" if value else "0" for name, value in values.items()}
    extent = max([1.0, *(abs(float(value or 0)) for value in values.values())])
    return grid_map(matrices, values, texts, CHANGE, (-extent, extent), title, None)


WHAT_IF_FIGURES = {
    "decision_map": decision_map,
    "agreement_bars": agreement_bars,
    "moves_over_time": moves_over_time,
    "rank_difference_map": rank_difference_map,
}
