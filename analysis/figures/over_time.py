"""When it happened: time × matrix, and rank as lines and as shares."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.directions import is_soft
from analysis.figures.maps import map_scale
from analysis.figures.scales import BLUES, blend
from analysis.figures.theme import EXTENDED, NO_RECORDS, PATTERNS, PRUNED, SEQUENCE, STEP, TRUE, empty_figure, styled
from analysis.metrics import matrix_label
from analysis.order import sorted_matrices
from analysis.quantities import quantity, selected_records
from analysis.runs import Run
from analysis.tables import TABLES
from analysis.tables.columns import numbers

MOST_COLUMNS = 1000
"""Records a strip draws, and each line but those of ranks; events are always among them."""
MOST_LABELS = 48
UNDEFINED = "#c4c4c4"
GREY = "rgba(127,127,127,0.22)"
JITTER = 0.15
"""Directions that lines on the same rank are moved apart, up and down."""
SYMBOLS = ("circle", "square", "diamond", "cross", "x", "triangle-up", "triangle-down", "star")


def strip(run: Run, colour: str = "entropy", sort: str = "architecture", since: int | None = None) -> go.Figure:
    """Draw one quantity of every matrix over time, a row a matrix; grey is undefined.

    Args:
        run: a loaded run.
        colour: key of ``QUANTITIES``.
        sort: key of ``analysis.order.SORTS``.
        since: step that change is counted from; None = the first record.

    Raises:
        ValueError: an unknown colour or sort.
    """
    asked = quantity(colour)
    order = sorted_matrices(run, sort)
    title = f"{asked.label[0].upper()}{asked.label[1:]} over time"
    if not len(run.steps):
        return empty_figure(title, NO_RECORDS)
    table = TABLES["strip"](run, colour, sort, since)
    drawn = selected_records(run, MOST_COLUMNS)
    z = numbers(table, asked.column).reshape(run.ranks.shape)[drawn].T
    steps = run.steps[drawn]
    # A record holds until the next one: its cell reaches from its own step to there.
    edges = np.append(steps, steps[-1] + (max(1, int(np.median(np.diff(steps)))) if len(steps) > 1 else 1))
    names = [run.matrices[place].name for place in order]
    figure = go.Figure()
    if not np.isfinite(z).all():
        figure.add_heatmap(
            x=edges,
            y=names,
            z=np.where(np.isfinite(z), np.nan, 0.0).astype(np.float32),
            colorscale=[[0, UNDEFINED], [1, UNDEFINED]],
            showscale=False,
            name="undefined",
            showlegend=True,
            hovertemplate="%{y}<br>step %{x}<br>undefined<extra></extra>",
        )
    figure.add_heatmap(
        x=edges,
        y=names,
        z=z,
        coloraxis="coloraxis",
        name=asked.label,
        hovertemplate=f"%{{y}}<br>step %{{x}}<br>{asked.label} %{{z:.4g}}<extra></extra>",
        hoverongaps=False,
    )
    styled(figure, title=title + _of_records(run, len(drawn)), x=STEP, y="")
    figure.update_xaxes(showgrid=False, range=[int(edges[0]), max(int(edges[-1]), run.total_steps)])
    _label_rows(figure, run, order, sort)
    height = int(min(860, 150 + max(220, 9 * len(order))))
    return figure.update_layout(
        height=height, margin={"l": 130}, coloraxis=map_scale([run], colour, since).axis(asked.label)
    )


def _of_records(run: Run, drawn: int) -> str:
    return "" if drawn == len(run.steps) else f" ({drawn} of {len(run.steps)} records drawn, every event among them)"


def _label_rows(figure: go.Figure, run: Run, order: np.ndarray, sort: str) -> None:
    """Name groups where the order makes any, else single rows."""
    key: dict[str, Any] = {
        "architecture": lambda matrix: matrix.module_type,
        "layer": lambda matrix: "no layer" if matrix.layer is None else f"layer {matrix.layer}",
    }
    count = len(order)
    if sort in key:
        groups = [(name, len(list(own))) for name, own in groupby(key[sort](run.matrices[place]) for place in order)]
        ends = np.cumsum([size for _, size in groups])
        middles = [end - size / 2 - 0.5 for end, (_, size) in zip(ends.tolist(), groups, strict=True)]
        every = -(-len(groups) // MOST_LABELS)
        figure.update_yaxes(tickvals=middles[::every], ticktext=[name for name, _ in groups][::every])
        if len(groups) <= MOST_LABELS:
            for end in ends[:-1].tolist():
                figure.add_hline(y=end - 0.5, line={"color": "#ffffff", "width": 2})
    else:
        every = -(-count // MOST_LABELS)
        ticks = list(range(0, count, every))
        figure.update_yaxes(tickvals=ticks, ticktext=[matrix_label(run.matrices[order[tick]]) for tick in ticks])
    figure.update_yaxes(type="category", range=[count - 0.5, -0.5], showgrid=False, tickfont={"size": 10}, title=None)


def rank_trajectories(run: Run, highlight: Sequence[str] | None = None, measure: str = "rank") -> go.Figure:
    """Draw every matrix as a line, a few of them coloured over the others in grey.

    Lines of ranks are moved by at most ±0.15 directions, always in the same way, so that equal ranks stand beside each
    other; the pointer reads the rank itself.

    Args:
        run: a loaded run.
        highlight: names of matrices; None = the eight that moved most, net and then in all.
        measure: key of ``QUANTITIES``.

    Raises:
        ValueError: an unknown measure or matrix.
    """
    asked = quantity(measure)
    title = f"{asked.label[0].upper()}{asked.label[1:]} of each matrix"
    table = TABLES["rank_trajectories"](run, highlight, measure)
    if not len(run.steps):
        return empty_figure(title, NO_RECORDS)
    values = numbers(table, asked.column).reshape(run.ranks.shape)
    chosen = np.flatnonzero(numbers(table, "highlighted")[: len(run.matrices)]).tolist()
    if highlight is not None:
        chosen = [run.places[name] for name in dict.fromkeys(highlight)]
    whole = measure in ("rank", "change")
    shift = jitter(len(run.matrices)) if whole else np.zeros(len(run.matrices))
    figure = go.Figure()
    drawn = selected_records(run, MOST_COLUMNS)
    _add_others(figure, run, values, shift, [m for m in range(len(run.matrices)) if m not in chosen], drawn, whole)
    for number, place in enumerate(chosen):
        label = matrix_label(run.matrices[place])
        colour = SEQUENCE[number % len(SEQUENCE)]
        figure.add_scatter(
            x=run.steps[drawn],
            y=values[drawn, place] + shift[place],
            customdata=values[drawn, place],
            name=label,
            mode="lines",
            line={"color": colour, "width": 2.2, "shape": "hv"},
            legendgroup=label,
            hovertemplate=f"{label}<br>step %{{x}}<br>{asked.label} %{{customdata:.4g}}<extra></extra>",
        )
        _add_moves(figure, run, place, values[:, place] + shift[place], label, SYMBOLS[number % len(SYMBOLS)])
    styled(figure, title=title + _of_records(run, len(drawn)), x=STEP, y=asked.label)
    if measure in ("entropy", "gap"):
        figure.update_yaxes(range=[0, 1.02])
    else:
        figure.update_yaxes(rangemode="tozero")
    return figure.update_layout(height=440)


def jitter(count: int) -> np.ndarray:
    """Return shifts within ±0.15 that keep neighbours apart, the same for every figure, (count,)."""
    # Multiples of the golden ratio modulo 1 fill the interval evenly for any count.
    return JITTER * (2 * ((np.arange(count) * 0.6180339887498949) % 1.0) - 1)


def _add_others(
    figure: go.Figure,
    run: Run,
    values: np.ndarray,
    shift: np.ndarray,
    places: list[int],
    drawn: np.ndarray,
    whole: bool,
) -> None:
    xs, ys = [], []
    last = len(run.steps) - 1
    for place in places:
        # A rank is drawn exactly by the records at which it changed.
        kept = np.unique([0, *(np.flatnonzero(np.diff(values[:, place])) + 1).tolist(), last]) if whole else drawn
        xs += [run.steps[kept].astype(np.float64), [np.nan]]
        ys += [values[kept, place] + shift[place], [np.nan]]
    if places:
        figure.add_scatter(
            x=np.concatenate(xs),
            y=np.concatenate(ys),
            mode="lines",
            name=f"{len(places)} others",
            line={"color": GREY, "width": 1, "shape": "hv"},
            hoverinfo="skip",
        )


def _add_moves(figure: go.Figure, run: Run, place: int, values: np.ndarray, label: str, symbol: str) -> None:
    """Mark the events of a highlighted matrix; its symbol tells its line without the colour."""
    name = run.matrices[place].name
    for key, colour, word in (("prune", PRUNED, "pruned"), ("extend", EXTENDED, "extended")):
        own = [(e["step"], move) for e in run.events for move in e[key] if move["matrix"] == name]
        if not own:
            continue
        records = np.maximum(0, np.searchsorted(run.steps, [step for step, _ in own], side="right") - 1)
        soft = {"pruned": "switched off", "extended": "back on"}[word]
        figure.add_scatter(
            x=[step for step, _ in own],
            y=values[records],
            mode="markers",
            marker={"symbol": symbol, "size": 7, "color": colour, "line": {"width": 1, "color": "#ffffff"}},
            name=f"{label} {word}",
            legendgroup=label,
            showlegend=False,
            text=[soft if is_soft(move) else word for _, move in own],
            hovertemplate=f"{label}<br>step %{{x}}<br>%{{text}}<extra></extra>",
        )


def rank_share(run: Run, by: str = "type") -> go.Figure:
    """Draw the share of all rank that each module type or layer holds, and the total above.

    More than 12 layers are put together into bands.

    Args:
        run: a loaded run.
        by: ``type`` or ``layer``.

    Raises:
        ValueError: another grouping.
    """
    table = TABLES["rank_share"](run, by)
    title = f"Share of rank by {'module type' if by == 'type' else 'layer'}"
    if not len(run.steps):
        return empty_figure(title, NO_RECORDS)
    labels = table["group"].to_pylist()
    labels = labels[: len(labels) // len(run.steps)]
    shares, total = (numbers(table, name).reshape(len(run.steps), -1) for name in ("rank_share", "total_rank"))
    ranks = numbers(table, "rank").reshape(len(run.steps), -1)
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.22, 0.78], vertical_spacing=0.06)
    figure.add_scatter(
        x=run.steps,
        y=total[:, 0],
        mode="lines",
        name="total rank",
        line={"color": TRUE, "width": 2, "shape": "hv"},
        row=1,
        col=1,
        hovertemplate="step %{x}<br>total rank %{y}<extra></extra>",
    )
    for number, label in enumerate(labels):
        ordered = by == "layer"
        colour = blend(BLUES, 0.12 + 0.8 * number / max(1, len(labels) - 1)) if ordered else SEQUENCE[number % 8]
        figure.add_scatter(
            x=run.steps,
            y=shares[:, number],
            customdata=ranks[:, number],
            name=label,
            mode="lines",
            stackgroup="share",
            line={"width": 0.8, "color": "#ffffff" if ordered else colour, "shape": "hv"},
            fillcolor=colour,
            fillpattern={"shape": PATTERNS[number % len(PATTERNS)], "fgcolor": "#ffffff", "bgcolor": colour, "size": 7},
            hovertemplate=f"{label}<br>step %{{x}}<br>rank %{{customdata}}, %{{y:.1%}}<extra></extra>",
            row=2,
            col=1,
        )
    styled(figure, title=title, x="", y="")
    figure.update_xaxes(title=STEP, row=2, col=1).update_xaxes(title=None, row=1, col=1)
    figure.update_yaxes(title="total rank", rangemode="tozero", row=1, col=1)
    figure.update_yaxes(title="share of rank", range=[0, 1], tickformat=".0%", row=2, col=1)
    return figure.update_layout(height=480)
