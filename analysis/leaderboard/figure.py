"""Accuracy against cost with the spread of reruns, and the front."""

from __future__ import annotations

import math

import plotly.graph_objects as go

from analysis.figures.theme import styled
from analysis.leaderboard.compare import Board, Standing

COST_NAMES = {
    "memory_bytes": ("peak accelerator memory, GB", 1e9),
    "train_s": ("training time, minutes", 60.0),
    "file_bytes": ("size of the adapter, MB", 1e6),
    "parameters": ("trainable parameters, millions", 1e6),
}
FRONT, BEHIND, OTHER = "#0072B2", "#7F7F7F", "#56B4E9"


def pareto(board: Board) -> go.Figure:
    """Return the scatter: error bars are 95 % intervals; hollow = surely behind one that costs no more."""
    title, unit = COST_NAMES[board.cost]
    figure = go.Figure()
    front = sorted((own for own in board.standings if own.front), key=lambda own: own.costs[board.cost])
    figure.add_scatter(
        x=[own.costs[board.cost] / unit for own in front],
        y=[own.mean for own in front],
        mode="lines",
        line={"color": FRONT, "shape": "hv", "width": 1},
        name="front, by the means",
    )
    for name, colour, symbol, own in (
        ("on the front", FRONT, "circle", front),
        ("not told apart from it", OTHER, "circle", [o for o in _known(board) if not o.front and not o.surely_behind]),
        ("surely behind", BEHIND, "circle-open", [o for o in _known(board) if not o.front and o.surely_behind]),
    ):
        figure.add_scatter(
            x=[one.costs[board.cost] / unit for one in own],
            y=[one.mean for one in own],
            error_y={"array": [0.0 if math.isnan(one.half) else one.half for one in own], "thickness": 1, "width": 2},
            mode="markers",
            marker={"color": colour, "symbol": symbol, "size": 8},
            name=name,
            text=[f"{one.experiment}, n = {one.n}" for one in own],
            hovertemplate="%{text}<br>%{y:.3f} at %{x:.3g}<extra></extra>",
        )
    measure = measure_name(board)
    return styled(figure, title=f"{measure.capitalize()} against {title.split(',')[0]}", x=title, y=f"test {measure}")


def measure_name(board: Board) -> str:
    """Return what the test measured, in words."""
    return board.measure.replace("_", " ")


def _known(board: Board) -> list[Standing]:
    return [own for own in board.standings if board.cost in own.costs]
