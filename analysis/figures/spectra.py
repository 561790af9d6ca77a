"""Spectra of one matrix over time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go

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
    names = [item.name for item in run.matrices]
    if matrix not in names:
        raise ValueError(f"unknown matrix {matrix!r}; this run has {', '.join(names[:4])}, ... ({len(names)} in all)")
    index = names.index(matrix)
    gates = None if run.log.gates is None else direction_lines(run, index, run.log.gates)
    figure = go.Figure()
    off: list[tuple[np.ndarray, np.ndarray]] = []
    for number, (slot, steps, values) in enumerate(direction_lines(run, index)):
        used = gates[number][2] > 0 if gates else np.ones(len(steps), bool)
        off.append((steps, np.where(used, np.nan, np.abs(values))))
        figure.add_scatter(
            x=steps,
            y=np.where(used, np.abs(values), np.nan),
            name=f"slot {slot}",
            mode="lines",
            line={"color": SEQUENCE[number % len(SEQUENCE)], "width": 1.5},
            hovertemplate=f"slot {slot}<br>step %{{x}}<br>|λ| %{{y:.4g}}<extra></extra>",
        )
    _add_off(figure, off)
    _add_true_values(figure, run, index)
    _add_moves(figure, run, matrix)
    title = f"Spectrum of {matrix_label(run.matrices[index])}"
    return styled(figure, title=title, x="step (finished optimizer steps)", y="|λ| and σ(ΔW) / s")


def direction_lines(
    run: Run, matrix: int, source: np.ndarray | None = None
) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """Return (slot, steps (n,), signed λ (n,)) for each stay of a direction in a slot of one matrix, in order.

    Args:
        run: a loaded run.
        matrix: its place in the header.
        source: read this flat array, one number a λ, in place of λ.
    """
    numbers = run.log.values if source is None else source
    name = run.matrices[matrix].name
    active = list(range(int(run.stored[0, matrix]))) if len(run.steps) else []
    pending = [(event["step"], event) for event in run.events]
    open_lines: dict[int, list[tuple[int, float]]] = {}
    done: list[tuple[int, list[tuple[int, float]]]] = []
    columns = len(run.matrices)
    for record, step in enumerate(run.steps.tolist()):
        while pending and pending[0][0] < step:
            for move in pending.pop(0)[1]["prune"]:
                if move["matrix"] == name and move["slot"] in active and not is_soft(move):
                    active.remove(move["slot"])
                    done.append((move["slot"], open_lines.pop(move["slot"], [])))
            active = sorted([*active, *_extended(run, name, step, record)])
        place = record * columns + matrix
        values = numbers[run.log.offsets[place] : run.log.offsets[place + 1]]
        if len(values) == len(active):
            for slot, value in zip(active, values.tolist(), strict=True):
                open_lines.setdefault(slot, []).append((step, value))
    done.extend(open_lines.items())
    stays = sorted(((slot, np.array(points)) for slot, points in done if points), key=lambda s: (s[1][0, 0], s[0]))
    return [(slot, points[:, 0], points[:, 1]) for slot, points in stays]


def _extended(run: Run, name: str, step: int, record: int) -> list[int]:
    since = int(run.steps[record - 1]) if record else -1
    return [
        move["slot"]
        for event in run.events
        if since <= event["step"] < step
        for move in event["extend"]
        if move["matrix"] == name and not is_soft(move)
    ]


def is_soft(move: Mapping[str, Any]) -> bool:
    """Return True for a move that switches a direction off or on and leaves it stored."""
    return not {"masked", "revived"}.isdisjoint(move.get("rules") or ())


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
    scale, columns, offsets = run.scale or 1.0, len(run.matrices), run.log.offsets
    steps, values = [], []
    for record in np.flatnonzero(run.log.true_index >= 0).tolist():
        first = record * columns
        start, stop = run.log.true_index[record] + offsets[[first + matrix, first + matrix + 1]] - offsets[first]
        own = run.log.true_values[start:stop] / scale
        steps.extend([int(run.steps[record])] * len(own))
        values.extend(own.tolist())
    figure.add_scatter(
        x=steps,
        y=values,
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
