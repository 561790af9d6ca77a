"""The directions of one matrix: now as stems, and their energy over time."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.figures.scales import VIOLETS, blend, nice_ceiling
from analysis.figures.theme import (
    EXTENDED,
    NO_RECORDS,
    PATTERNS,
    PRUNED,
    SEQUENCE,
    STEP,
    TRUE,
    empty_figure,
    styled,
)
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


def spectrum(run: Run, matrix: str | None = None, step: int | None = None) -> go.Figure:
    """Draw |λ| of each direction as a stem, the true singular values of ΔW behind them, and the energy shares below.

    A direction that the event at this step prunes is hollow, one that the event before added is ringed, one that the
    event adds is a dashed ring at 0. λ < 0 points down. True singular values are divided by the scale s.

    Args:
        run: a loaded run.
        matrix: name of a matrix; None = the first that the parked event moves.
        step: None = the parked event.

    Raises:
        ValueError: the run has no matrix of this name.
    """
    place = shown_matrix(run, matrix)
    title = f"Spectrum of {matrix_label(run.matrices[place])}"
    if not len(run.steps):
        return empty_figure(title, NO_RECORDS)
    rows = TABLES["spectrum"](run, matrix, step).to_pylist()
    directions = [row for row in rows if row["kind"] == "direction"]
    figure = make_subplots(rows=2, cols=1, row_heights=[0.86, 0.14], vertical_spacing=0.16)
    _add_true(figure, [row for row in rows if row["kind"] == "true"])
    top, count = _scale(run, place)
    for state in STATES:
        _add_stems(figure, [row for row in directions if row["state"] == state], state)
    _add_arriving(figure, [row for row in rows if row["kind"] == "arriving"])
    _add_shares(figure, directions)
    at = directions[0]["record_step"] if directions else int(run.steps[-1])
    styled(figure, title=f"{title} at step {at}", x="", y="")
    labels = ["" if row["slot"] is None else str(row["slot"]) for row in directions]
    figure.update_xaxes(
        title="direction: its slot, largest |λ| first",
        tickvals=[row["place"] for row in directions],
        ticktext=labels,
        range=[0.4, count + 0.6],
        showgrid=False,
        row=1,
        col=1,
    )
    figure.update_yaxes(title="|λ| and σ(ΔW) / s", range=[0, top * 1.04], row=1, col=1)
    figure.update_xaxes(title="share of energy", range=[0, 1], tickformat=".0%", row=2, col=1)
    figure.update_yaxes(visible=False, row=2, col=1)
    if directions and all(row["singular_value"] is None for row in directions):
        figure.add_annotation(
            text="λ is not known in this log", x=0.5, y=0.6, xref="paper", yref="paper", showarrow=False
        )
    return figure.update_layout(height=460, barmode="overlay", legend={"y": -0.25})


def _scale(run: Run, place: int) -> tuple[float, int]:
    """Return the top of the axis and the number of places, fixed over the run."""
    known = run.log.spectra.digest
    top, truth = float(known.peak[place]), float(known.true_peak[place]) / (run.scale or 1.0)
    count = int(run.stored[:, place].max(initial=1)) + 1
    return nice_ceiling(min(max(top, truth), MOST * top) if top > 0 else truth), count


def _add_true(figure: go.Figure, rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    figure.add_bar(
        x=[row["place"] for row in rows],
        y=[row["over_scale"] for row in rows],
        width=0.62,
        name=f"σ / s of ΔW (step {rows[0]['record_step']})",
        marker={"color": "rgba(127,127,127,0.18)", "line": {"color": TRUE, "width": 1}},
        hovertemplate="σ / s %{y:.4g}<extra></extra>",
        row=1,
        col=1,
    )


def _add_stems(figure: go.Figure, rows: list[dict[str, Any]], state: str) -> None:
    known = [row for row in rows if row["singular_value"] is not None and np.isfinite(row["singular_value"])]
    if not known:
        return
    colour, hollow, ringed = STATES[state]
    heights = [abs(row["singular_value"]) for row in known]
    xs = [row["place"] for row in known]
    figure.add_scatter(
        x=[value for x in xs for value in (x, x, None)],
        y=[value for height in heights for value in (0.0, height, None)],
        mode="lines",
        line={"color": colour, "width": 2, "dash": "dash" if hollow else "solid"},
        hoverinfo="skip",
        legendgroup=state,
        showlegend=False,
        name=f"{state}: stems",
        row=1,
        col=1,
    )
    figure.add_scatter(
        x=xs,
        y=heights,
        mode="markers+text",
        name=state,
        legendgroup=state,
        cliponaxis=False,
        text=["" if row["gate"] in (0, 1) else f"{row['gate']:.0%}" for row in known],
        textposition="top center",
        marker={
            "color": colour,
            "size": 11,
            "symbol": [
                ("triangle-down" if row["singular_value"] < 0 else "circle") + ("-open" if hollow else "")
                for row in known
            ],
            "line": {"width": 2, "color": colour},
        },
        customdata=[[row["slot"], row["singular_value"], row["energy_share"], row["gate"]] for row in known],
        hovertemplate=(
            f"slot %{{customdata[0]}} · {state}<br>λ %{{customdata[1]:.4g}}<br>share of energy %{{customdata[2]:.1%}}"
            "<br>used in %{customdata[3]:.0%} of steps<extra></extra>"
        ),
        row=1,
        col=1,
    )
    if ringed:
        figure.add_scatter(
            x=xs,
            y=heights,
            mode="markers",
            marker={"symbol": "circle-open", "size": 19, "color": colour, "line": {"width": 1.5}},
            hoverinfo="skip",
            legendgroup=state,
            showlegend=False,
            name=f"{state}: rings",
            row=1,
            col=1,
        )


def _add_arriving(figure: go.Figure, rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    figure.add_scatter(
        x=[row["place"] for row in rows],
        y=[0.0] * len(rows),
        mode="markers+text",
        text=["+1"] * len(rows),
        textposition="top center",
        textfont={"color": EXTENDED},
        marker={"symbol": "circle-open-dot", "size": 13, "color": EXTENDED, "line": {"width": 2}},
        name="added by this event, λ = 0",
        hovertemplate="added by this event<extra></extra>",
        cliponaxis=False,
        row=1,
        col=1,
    )


def _add_shares(figure: go.Figure, directions: list[dict[str, Any]]) -> None:
    """One bar of all energy: even pieces are entropy 1. Hatched where nothing has energy, or it is unknown."""
    start = 0.0
    for number, row in enumerate(directions):
        share = row["energy_share"]
        if not share:
            continue
        figure.add_bar(
            x=[share],
            y=[""],
            base=[start],
            orientation="h",
            name="share of energy",
            showlegend=False,
            text=[f"{share:.0%}" if share > 0.06 else ""],
            textposition="inside",
            insidetextanchor="middle",
            marker={
                "color": blend(VIOLETS, (200 - 150 * number / len(directions)) / 255),
                "line": {"color": "#ffffff", "width": 1},
            },
            hovertemplate=f"slot {row['slot']}<br>%{{x:.1%}} of the energy<extra></extra>",
            row=2,
            col=1,
        )
        start += share
    if not start:
        hatch = {"shape": "/", "fgcolor": TRUE, "size": 6, "solidity": 0.2}
        figure.add_bar(
            x=[1.0], y=[""], orientation="h", name="undefined", row=2, col=1, hovertemplate="undefined<extra></extra>",
            marker={"color": "rgba(0,0,0,0)", "line": {"color": TRUE, "width": 1}, "pattern": hatch},
        )  # fmt: skip


def energy_shares(run: Run, matrix: str | None = None) -> go.Figure:
    """Draw the share of energy of each direction over time, stacked; a direction keeps its colour and pattern.

    A band is one stay of a direction in a slot: a new direction in an emptied slot has a band of its own. Grey: no
    energy, or λ unknown.

    Args:
        run: a loaded run.
        matrix: name of a matrix; None = the first that the parked event moves.

    Raises:
        ValueError: the run has no matrix of this name.
    """
    place = shown_matrix(run, matrix)
    title = f"Energy of {matrix_label(run.matrices[place])}, by direction"
    if not len(run.steps):
        return empty_figure(title, NO_RECORDS)
    table = TABLES["energy_shares"](run, matrix)
    stays, slots, steps = (table[name].to_numpy() for name in ("stay", "slot", "step"))
    shares = numbers(table, "energy_share")
    figure = go.Figure()
    places = {step: number for number, step in enumerate(run.steps.tolist())}
    for stay in range(int(stays.max(initial=-1)) + 1):
        own = stays == stay
        # Every band is as long as the run: a stack adds what stands at the same step.
        band = np.zeros(len(run.steps))
        band[[places[step] for step in steps[own].tolist()]] = np.nan_to_num(shares[own])
        slot = int(slots[own][0])
        colour = SEQUENCE[stay % len(SEQUENCE)]
        pattern = PATTERNS[stay // len(SEQUENCE) % len(PATTERNS)]
        figure.add_scatter(
            x=run.steps,
            y=band,
            name=f"slot {slot}" + ("" if steps[own][0] == run.steps[0] else f", from {steps[own][0]}"),
            mode="lines",
            stackgroup="energy",
            line={"width": 0.5, "color": "#ffffff", "shape": "hv"},
            fillcolor=colour,
            fillpattern={"shape": pattern, "fgcolor": "#ffffff", "bgcolor": colour, "size": 6, "solidity": 0.25},
            hovertemplate=f"slot {slot}<br>step %{{x}}<br>%{{y:.1%}} of the energy<extra></extra>",
        )
    _shade_undefined(figure, run, place)
    styled(figure, title=title, x=STEP, y="share of Σλ²")
    figure.update_yaxes(range=[0, 1], tickformat=".0%")
    return figure.update_layout(height=420)


def _shade_undefined(figure: go.Figure, run: Run, place: int) -> None:
    energy = run.energy[:, place]
    undefined = ~(np.isfinite(energy) & (energy > 0))
    edges = np.flatnonzero(np.diff(np.concatenate([[False], undefined, [False]]).astype(np.int8)))
    for start, stop in edges.reshape(-1, 2).tolist():
        end = int(run.steps[stop]) if stop < len(run.steps) else int(run.steps[-1]) + 1
        figure.add_vrect(x0=int(run.steps[start]), x1=end, fillcolor=TRUE, opacity=0.25, line_width=0)
    if undefined.all():
        figure.add_annotation(
            text="no energy, or λ is not known in this log", x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False
        )
