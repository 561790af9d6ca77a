"""Spectra of one matrix over time."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from analysis.directions import direction_stays, is_soft, true_lines
from analysis.figures.theme import EXTENDED, PRUNED, SEQUENCE, TRUE, styled
from analysis.metrics import matrix_label
from analysis.runs import Run


def spectra_over_time(run: Run, matrix: str) -> go.Figure:
    """Draw |λ| of every direction of a matrix against the step, with its prunes and extensions.

    A line is one stay of a direction in a slot: it begins where the slot was filled and ends where it was emptied. Grey
    and dotted: the direction is off. True singular values of ΔW are dots, divided by the scale s so that both have the
    unit of λ.

    Args:
        run: a loaded run.
        matrix: name of a matrix.

    Raises:
        ValueError: the run has no matrix of this name.
    """
    index = run.place_of(matrix)
    figure = go.Figure()
    off: list[tuple[np.ndarray, np.ndarray]] = []
    for number, (slot, steps, values, gates) in enumerate(direction_stays(run, index)):
        used = gates > 0
        off.append((steps, np.where(used, np.nan, np.abs(values))))
        figure.add_scatter(
            x=steps,
            y=np.where(used, np.abs(values), np.nan),
            name=f"slot {slot}" + ("" if steps[0] == run.steps[0] else f", from {steps[0]}"),
            mode="lines",
            line={"color": SEQUENCE[number % len(SEQUENCE)], "width": 1.5},
            hovertemplate=f"slot {slot}<br>step %{{x}}<br>|λ| %{{y:.4g}}<extra></extra>",
        )
    _add_off(figure, off)
    _add_true_values(figure, run, index)
    _add_moves(figure, run, matrix)
    title = f"Spectrum of {matrix_label(run.matrices[index])}"
    return styled(figure, title=title, x="step (finished optimizer steps)", y="|λ| and σ(ΔW) / s")


def _add_off(figure: go.Figure, lines: list[tuple[np.ndarray, np.ndarray]]) -> None:
    if not any(np.isfinite(values).any() for _, values in lines):
        return
    figure.add_scatter(
        x=np.concatenate([np.append(steps, np.nan) for steps, _ in lines]),
        y=np.concatenate([np.append(values, np.nan) for _, values in lines]),
        name="off, may revive",
        mode="lines",
        line={"color": TRUE, "width": 1.5, "dash": "dot"},
        hovertemplate="off<br>step %{x}<br>|λ| %{y:.4g}<extra></extra>",
    )


def _add_true_values(figure: go.Figure, run: Run, matrix: int) -> None:
    steps, values = true_lines(run, matrix)
    figure.add_scatter(
        x=steps,
        y=values / (run.scale or 1.0),
        name="σ(ΔW) / s",
        mode="markers",
        marker={"color": TRUE, "size": 4, "symbol": "line-ew-open"},
        hovertemplate="step %{x}<br>σ / s %{y:.4g}<extra></extra>",
    )


def _add_moves(figure: go.Figure, run: Run, matrix: str) -> None:
    for key, colour, symbol, hard, soft in (
        ("prune", PRUNED, "x", "pruned", "switched off"),
        ("extend", EXTENDED, "circle-open", "extended", "back on"),
    ):
        moves = [(event["step"], move) for event in run.events for move in event[key] if move["matrix"] == matrix]
        word = soft if moves and all(is_soft(move) for _, move in moves) else hard
        figure.add_scatter(
            x=[step for step, _ in moves],
            y=[abs(move.get("singular_value") or 0.0) for _, move in moves],
            name=word,
            mode="markers",
            marker={"color": colour, "size": 9, "symbol": symbol, "line": {"width": 2}},
            text=[f"slot {move['slot']}" for _, move in moves],
            hovertemplate=f"{word} %{{text}}<br>step %{{x}}<br>|λ| %{{y:.4g}}<extra></extra>",
        )
