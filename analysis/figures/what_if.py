"""Decisions of a run beside those of a replay: a map of moves, their number over time, final ranks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import plotly.graph_objects as go

from analysis.figures.adapters import one_map
from analysis.figures.cells import number_text
from analysis.figures.painters import bars, curve, marks, panels
from analysis.figures.scales import SCALES
from analysis.figures.theme import DASHES, SEQUENCE, TRUE
from analysis.metrics import matrix_label
from analysis.runs import Matrix
from analysis.what_if import Decisions, Difference

PARTS = {
    "both": ("both", TRUE, "{}", ""),
    "only_actual": ("only as it was", SEQUENCE[1], "{}-open", "/"),
    "only_other": ("only what-if", SEQUENCE[0], "star-{}", "x"),
}
"""Part of a difference → label, colour, symbol, pattern of the bar."""
HALVES = (("prune", "triangle-down", 0.24), ("extend", "triangle-up", -0.24))
"""Half of an event → its symbol, and where in the row it stands: a matrix may do both in one event."""
ROW_PX = 18
MARK_PX = 8
LABEL_PX = 15
AROUND_PX = 150
MAX_HEIGHT_PX = 1400


def decision_map(difference: Difference, matrices: Sequence[Matrix]) -> go.Figure:
    """Draw every move of a run and a replay at (step, matrix): ▼ pruned, ▲ extended.

    Filled = both, open = only as it was, star = only what-if.
    """
    labels, count = [matrix_label(matrix) for matrix in matrices], len(matrices)
    rows_px = min(MAX_HEIGHT_PX - AROUND_PX, max(220, ROW_PX * count))
    size = min(MARK_PX, max(3.0, MARK_PX / ROW_PX * rows_px / count))
    figure = panels("Moves: as it was, and what-if", [""], AROUND_PX + rows_px)
    for part, (label, colour, symbol, _) in PARTS.items():
        for half, (word, shape, offset) in enumerate(HALVES):
            event, matrix = np.nonzero(getattr(difference, part)[:, :, half])
            outline = {"width": 1.2, "color": colour}
            marker = {"symbol": symbol.format(shape), "color": colour, "size": size, "line": outline}
            name, rows = f"{word}, {label}", [labels[number] for number in matrix]
            marks(figure, difference.steps[event], matrix + offset, name, marker, "%{text}", text=rows)
    figure.update_layout(margin={"l": 130, "t": 76}, legend={"y": 1.0, "yanchor": "bottom"})
    every = -(-count * LABEL_PX // rows_px)
    ticks = {"tickvals": list(range(0, count, every)), "ticktext": labels[::every], "tickfont": {"size": 11}}
    return figure.update_yaxes(**ticks, range=[count - 0.5, -0.5], title=None)


def agreement_bars(difference: Difference) -> go.Figure:
    """Draw, event by event, how many moves both make and how many only one of them."""
    figure = panels("Moves of each event", ["moves (prunes and extensions)"], 300)
    for part, (label, colour, _, pattern) in PARTS.items():
        counts = getattr(difference, part).sum(axis=(1, 2))
        bars(figure, difference.steps, counts, label, colour, f"%{{y}} moves: {label}", pattern)
    return figure.update_layout(barmode="stack", bargap=0.15)


def moves_over_time(actual: Decisions, others: dict[str, Decisions]) -> go.Figure:
    """Draw how many directions a run had moved up to each event, and dashed each replay of label → replay."""
    figure = panels("Directions moved so far", ["directions"], 300)
    for number, (label, own) in enumerate({"as it was": actual, **others}.items()):
        moved = np.cumsum(np.maximum(own.prune.sum(axis=1), own.extend.sum(axis=1)))
        colour = (TRUE, SEQUENCE[0], SEQUENCE[2], SEQUENCE[3])[number % 4]
        curve(figure, own.steps, moved, label, colour, dash=DASHES[number % len(DASHES)], told="%{y} directions moved")
    return figure


def rank_difference_map(difference: Difference, matrices: Sequence[Matrix], title: str) -> go.Figure:
    """Draw how many more directions each matrix has in the end than in the run.

    Raises:
        ValueError: decisions that do not build on each other have no final ranks.
    """
    if difference.rank_difference is None:
        raise ValueError("decisions that do not build on each other have no final ranks")
    change = dict(zip(difference.names, difference.rank_difference.tolist(), strict=True))
    cells = {name: (value, number_text(value, "+.0f")) for name, value in change.items()}
    return one_map(matrices, cells, SCALES["change"], title)


WHAT_IF_FIGURES: dict[str, Callable[..., go.Figure]] = {
    figure.__name__: figure for figure in (decision_map, agreement_bars, moves_over_time, rank_difference_map)
}
