"""The directions of one matrix: now as stems, over time as lines, and their energy as bands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa

from analysis.directions import is_soft, moves_of
from analysis.figures.painters import band, curve, marks, note, panels
from analysis.figures.scales import VIOLETS, nice_ceiling
from analysis.figures.theme import EXTENDED, MOVES, NO_RECORDS, PRUNED, SEQUENCE, TRUE, empty_figure
from analysis.metrics import matrix_label
from analysis.runs import Run
from analysis.tables import TABLES
from analysis.tables.columns import numbers
from analysis.tables.spectra import shown_matrix

ACCENT = "#0A6E8A"
MOST = 4
"""σ/s may be far above |λ|: beyond so many times the largest |λ| the bars are cut, so that λ stays visible."""
STATES = {
    "kept": (ACCENT, False, False),
    "off": (TRUE, True, False),
    "pruned": (PRUNED, True, False),
    "goes off": (PRUNED, True, False),
    "comes back": (EXTENDED, False, True),
    "new": (EXTENDED, False, True),
    "back": (EXTENDED, False, True),
}
"""State of a direction → colour, hollow, ringed."""
Rows = list[dict[str, Any]]


def spectrum(run: Run, matrix: str | None = None, step: int | None = None) -> go.Figure:
    """Draw |λ| of each direction as a stem, the true singular values of ΔW behind them, and the energy shares below.

    A direction that the event at this step prunes is hollow, one that the event before added is ringed, one that the
    event adds is a dashed ring at 0. λ < 0 points down. True singular values are divided by the scale s.

    ``matrix`` is a name, else ValueError; None = the first that the parked event moves. ``step`` None = the parked
    event.
    """
    place = shown_matrix(run, matrix)
    title = f"Spectrum of {matrix_label(run.matrices[place])}"
    if not len(run.steps):
        return empty_figure(title, NO_RECORDS)
    rows = TABLES["spectrum"](run, matrix, step).to_pylist()
    directions, truth, arriving = ([r for r in rows if r["kind"] == kind] for kind in ("direction", "true", "arriving"))
    at = directions[0]["record_step"] if directions else int(run.steps[-1])
    figure = panels(f"{title} at step {at}", ["|λ| and σ(ΔW) / s", "share of energy"], 460, [0.75, 0.25])
    if truth:
        look = {"color": "rgba(127,127,127,0.18)", "line": {"color": TRUE, "width": 1}}
        heights, name = [row["over_scale"] for row in truth], f"σ / s of ΔW (step {truth[0]['record_step']})"
        _add_bars(figure, [row["place"] for row in truth], heights, name, look, "σ / s %{y:.4g}")
    for state in STATES:
        _add_stems(figure, [row for row in directions if row["state"] == state], state)
    if arriving:
        marker = {"symbol": "circle-open-dot", "size": 13, "color": EXTENDED, "line": {"width": 2}}
        plus = {"mode": "markers+text", "text": ["+1"] * len(arriving), "textfont": {"color": EXTENDED}}
        name, xs = "added by this event, λ = 0", [row["place"] for row in arriving]
        marks(figure, xs, [0.0] * len(xs), name, marker, "", **plus, textposition="top center", cliponaxis=False)
    top, count = _scale(run, place)
    _add_shares(figure, directions, count)
    labels = ["" if row["slot"] is None else str(row["slot"]) for row in directions]
    ticks = {"tickvals": [row["place"] for row in directions], "ticktext": labels, "showgrid": False}
    figure.update_xaxes(range=[0.4, count + 0.6], **ticks)
    figure.update_xaxes(title="direction: its slot, largest |λ| first", row=2, col=1)
    figure.update_yaxes(range=[0, top * 1.04], row=1, col=1).update_yaxes(range=[0, 1], tickformat=".0%", row=2, col=1)
    if directions and all(row["singular_value"] is None for row in directions):
        note(figure, "λ is not known in this log", 0.6)
    return figure.update_layout(barmode="overlay")


def _scale(run: Run, place: int) -> tuple[float, int]:
    """Return the top of the axis and the number of places, fixed over the run."""
    known = run.log.spectra.digest
    top, truth = float(known.peak[place]), float(known.true_peak[place]) / (run.scale or 1.0)
    count = int(run.stored[:, place].max(initial=1)) + 1
    return nice_ceiling(min(max(top, truth), MOST * top) if top > 0 else truth), count


def _add_bars(
    figure: go.Figure,
    xs: Sequence[float],
    ys: Sequence[float],
    name: str,
    marker: dict[str, Any],
    told: str,
    row: int = 1,
) -> None:
    template = f"{told}<extra></extra>"
    figure.add_bar(x=xs, y=ys, width=0.62, name=name, marker=marker, hovertemplate=template, row=row, col=1)


def _add_stems(figure: go.Figure, rows: Rows, state: str) -> None:
    known = [row for row in rows if row["singular_value"] is not None and np.isfinite(row["singular_value"])]
    if not known:
        return
    colour, hollow, ringed = STATES[state]
    xs, heights = [row["place"] for row in known], [abs(row["singular_value"]) for row in known]
    symbols = [f"{'triangle-down' if row['singular_value'] < 0 else 'circle'}{'-open' * hollow}" for row in known]
    marker = {"color": colour, "size": 11, "symbol": symbols, "line": {"width": 2, "color": colour}}
    stems = {"symmetric": False, "array": [0.0] * len(known), "arrayminus": heights, "width": 0, "color": colour}
    used = {
        "mode": "markers+text",
        "text": ["" if row["gate"] in (0, 1) else f"{row['gate']:.0%}" for row in known],
        "textposition": "top center",
        "customdata": [[row["slot"], row["singular_value"], row["energy_share"], row["gate"]] for row in known],
        "hovertemplate": (
            f"slot %{{customdata[0]}} · {state}<br>λ %{{customdata[1]:.4g}}<br>share of energy %{{customdata[2]:.1%}}"
            "<br>used in %{customdata[3]:.0%} of steps<extra></extra>"
        ),
    }
    marks(figure, xs, heights, state, marker, legendgroup=state, cliponaxis=False, error_y=stems, **used)
    if ringed:
        ring = {"symbol": "circle-open", "size": 19, "color": colour, "line": {"width": 1.5}}
        marks(figure, xs, heights, f"{state}: rings", ring, "", legendgroup=state, showlegend=False)


def _add_shares(figure: go.Figure, directions: Rows, count: int) -> None:
    """One bar a direction: equal ones are entropy 1. Hatched where nothing has energy, or it is unknown."""
    known = [row for row in directions if row["energy_share"]]
    if known:
        xs, shares = [row["place"] for row in known], [row["energy_share"] for row in known]
        _add_bars(figure, xs, shares, "share of energy", {"color": VIOLETS[5]}, "%{y:.1%} of the energy", row=2)
        return
    pattern = {"shape": "/", "fgcolor": TRUE, "size": 6, "solidity": 0.2}
    marker = {"color": "rgba(0,0,0,0)", "line": {"color": TRUE, "width": 1}, "pattern": pattern}
    xs = list(range(1, count + 1))
    _add_bars(figure, xs, [1.0] * count, "undefined", marker, "undefined", row=2)


def energy_shares(run: Run, matrix: str | None = None) -> go.Figure:
    """Draw the share of energy of each direction over time, stacked; a direction keeps its colour and pattern.

    ``matrix`` is that of ``spectrum``. A band is one stay of a direction in a slot: a new direction in an emptied slot
    has a band of its own. Grey: no energy, or λ unknown.
    """
    place = shown_matrix(run, matrix)
    title = f"Energy of {matrix_label(run.matrices[place])}, by direction"
    if not len(run.steps):
        return empty_figure(title, NO_RECORDS)
    table = TABLES["energy_shares"](run, matrix)
    figure = panels(title, ["share of Σλ²"], 420)
    for stay, own in _stays(table):
        # Every band is as long as the run: a stack adds what stands at the same step.
        shares = np.zeros(len(run.steps))
        shares[np.searchsorted(run.steps, own["step"].to_numpy())] = np.nan_to_num(numbers(own, "energy_share"))
        colour, pattern = SEQUENCE[stay % len(SEQUENCE)], stay // len(SEQUENCE)
        band(figure, run.steps, shares, _stay_name(run, own), colour, pattern, "%{y:.1%} of the energy")
    energy = run.energy[:, place]
    undefined = ~(np.isfinite(energy) & (energy > 0))
    edges = np.flatnonzero(np.diff(np.concatenate([[False], undefined, [False]]).astype(np.int8)))
    steps = np.append(run.steps, run.steps[-1] + 1)
    for start, stop in steps[edges].reshape(-1, 2).tolist():
        figure.add_vrect(x0=start, x1=stop, fillcolor=TRUE, opacity=0.25, line_width=0)
    if undefined.all():
        note(figure, "no energy, or λ is not known in this log")
    return figure.update_yaxes(range=[0, 1], tickformat=".0%")


def spectra_over_time(run: Run, matrix: str) -> go.Figure:
    """Draw |λ| of every direction of a matrix against the step, with its prunes and extensions.

    A line is one stay of a direction in a slot: it begins where the slot was filled and ends where it was emptied. Grey
    and dotted: the direction is off. True singular values of ΔW are dots, divided by the scale s so that both have the
    unit of λ. ValueError where the run has no matrix of this name.
    """
    table = TABLES["spectra_over_time"](run, matrix)
    kinds = table["kind"].to_numpy(zero_copy_only=False)
    directions, truth = table.filter(kinds == "direction"), table.filter(kinds == "true")
    figure = panels(f"Spectrum of {matrix_label(run.matrices[run.place_of(matrix)])}", ["|λ| and σ(ΔW) / s"], 450)
    off: list[list[np.ndarray]] = [[], []]
    for stay, own in _stays(directions):
        steps, values, used = own["step"].to_numpy(), np.abs(numbers(own, "singular_value")), numbers(own, "gate") > 0
        look: dict[str, Any] = {"width": 1.5, "shape": "linear", "told": "|λ| %{y:.4g}"}
        colour = SEQUENCE[stay % len(SEQUENCE)]
        curve(figure, steps, np.where(used, values, np.nan), _stay_name(run, own), colour, **look)
        for part, array in zip(off, (steps, np.where(used, np.nan, values)), strict=True):
            part.append(np.append(array, np.nan))
    if any(np.isfinite(values).any() for values in off[1]):
        joined = np.concatenate(off[0]), np.concatenate(off[1])
        curve(figure, *joined, "off, may revive", TRUE, dash="dot", width=1.5, shape="linear", told="|λ| %{y:.4g}")
    dots = {"color": TRUE, "size": 4, "symbol": "line-ew-open"}
    marks(figure, truth["step"].to_numpy(), numbers(truth, "over_scale"), "σ(ΔW) / s", dots)
    for half, colour, symbol, hard, soft in MOVES:
        moves = moves_of(run, half, matrix)
        word = soft if moves and all(is_soft(move) for _, move in moves) else hard
        heights = [abs(move.get("singular_value") or 0.0) for _, move in moves]
        marker = {"color": colour, "size": 9, "symbol": symbol, "line": {"width": 2}}
        slots = [f"slot {move['slot']}" for _, move in moves]
        marks(figure, [step for step, _ in moves], heights, word, marker, "%{text}<br>|λ| %{y:.4g}", text=slots)
    return figure


def _stays(table: pa.Table) -> list[tuple[int, pa.Table]]:
    stays = table["stay"].to_numpy()
    return [(stay, table.filter(stays == stay)) for stay in range(int(stays.max(initial=-1)) + 1)]


def _stay_name(run: Run, own: pa.Table) -> str:
    first, slot = own["step"][0].as_py(), own["slot"][0].as_py()
    return f"slot {slot}" + ("" if first == run.steps[0] else f", from {first}")
