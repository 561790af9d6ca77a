"""Loss, ranks and moves over time, of one run or of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from analysis.directions import is_soft, move_words
from analysis.dynamics import loss_window
from analysis.figures.painters import band, bars, curve, marks, note, panels, spread_marks
from analysis.figures.scales import BLUES, blend
from analysis.figures.theme import EXTENDED, NO_RECORDS, PRUNED, SEQUENCE, TRUE, capital, empty_figure, method_style
from analysis.metrics import matrix_label
from analysis.metrics import total_rank as total_of
from analysis.quantities import quantity, selected_records
from analysis.runs import Run
from analysis.tables import TABLES
from analysis.tables.columns import numbers

MOST_COLUMNS = 1000
"""Records of a line that is not of ranks; events are always among them."""
GREY = "rgba(127,127,127,0.22)"
JITTER = 0.15
"""Directions that lines on the same rank are moved apart, up and down."""
SYMBOLS = ("circle", "square", "diamond", "cross", "x", "triangle-up", "triangle-down", "star")
SAME = 0.05
"""Directions: a mean that is closer to the rank says nothing new."""
LOSS = (
    ("task loss", "task_loss", SEQUENCE[0], "solid"),
    ("γ · regulariser", "weighted_regularizer", SEQUENCE[6], "dash"),
    ("penalty, as weighted", "penalty", SEQUENCE[5], "dot"),
)
NET_GROSS = (
    ("gross_moves", "gross: moved so far", SEQUENCE[1], "solid", 1),
    ("net_moves", "net: stand elsewhere than at the start", SEQUENCE[0], "dash", 1),
    ("churn", "churn within {} event{}", SEQUENCE[5], "dot", 2),
)
COMPARED = {"task_loss": "task loss, mean", "total_rank": "total rank", "parameters": "active parameters"}


def loss(run: Run) -> go.Figure:
    """Draw the task loss with its trailing mean, γ times the regulariser, and a method's own penalty, each apart."""
    table = TABLES["loss"](run)
    shown = [part for part in LOSS if np.isfinite(numbers(table, part[1])).any()]
    if not shown:
        return empty_figure("Loss", NO_RECORDS if not len(table) else "This run logged no loss.")
    weights = [2.0 if column == "task_loss" else 1.0 for _, column, *_ in shown]
    figure = panels("Loss, its parts apart", [part[0] for part in shown], 200 + 110 * len(shown), weights)
    steps, window = table["step"].to_numpy(), loss_window(run)
    for row, (name, column, colour, dash) in enumerate(shown, 1):
        smooth = column == "task_loss" and window > 1
        opacity, width = (0.35, 1.0) if smooth else (1.0, 1.6)
        look: dict[str, Any] = {"dash": dash, "shape": "linear", "row": row}
        curve(figure, steps, numbers(table, column), name, colour, **look, width=width, opacity=opacity)
        if smooth:
            mean = numbers(table, "task_loss_trailing_mean")
            curve(figure, steps, mean, f"mean of the last {window}", colour, **look)
    return figure


def moves(run: Run) -> go.Figure:
    """Draw the directions of each event, extended up and pruned down, within b(t) where the method has one."""
    table, title = TABLES["moves"](run), "Moves of each event"
    if not len(table):
        return empty_figure(title, "This run logged no event and has no budget of moves.")
    steps, budget = table["step"].to_numpy(), numbers(table, "budget")
    at = np.isfinite(numbers(table, "pruned"))
    span = max(run.total_steps, int(steps[-1]), 1)
    width = max(1.0, min([span / 150, *(0.8 * np.diff(steps[at]))]))
    figure = panels(title, ["directions"], 320)
    pruned, extended = move_words(run)
    for column, name, colour, sign, pattern in (
        ("extended", f"+ {extended}", EXTENDED, 1, ""),
        ("pruned", f"− {pruned}", PRUNED, -1, "/"),
    ):
        counts = numbers(table, column)[at]
        told = f"%{{customdata}} {name[2:]}"
        bars(figure, steps[at], sign * counts, name, colour, told, pattern, customdata=counts, width=width)
        if np.isfinite(budget).any():
            shared = {"legendgroup": "budget", "showlegend": sign > 0, "connectgaps": True}
            curve(figure, steps, sign * budget, "b(t)", TRUE, width=1.2, **shared)
    figure.update_yaxes(rangemode="normal").update_xaxes(range=[0, span])
    return figure.update_layout(barmode="relative")


def net_gross(run: Run, within: int = 1) -> go.Figure:
    """Draw the directions moved so far, how many of them stand elsewhere than at the start, and the churn.

    A prune counts as churn when it removes a direction that was added in the last ``within`` events, at least 1
    (ValueError).
    """
    table, title = TABLES["net_gross"](run, within), "Net and gross moves"
    if not len(table):
        return empty_figure(title, NO_RECORDS)
    figure = panels(title, ["directions", "share of prunes"], 420, [0.65, 0.35])
    for column, name, colour, dash, row in NET_GROSS:
        label = name.format(within, "s" * (within > 1))
        curve(figure, table["step"].to_numpy(), numbers(table, column), label, colour, dash=dash, row=row)
    figure.update_yaxes(range=[-0.02, 1.02], tickformat=".0%", row=2, col=1)
    if not run.events:
        note(figure, "no event in this log: how much moved between records is unknown", 0.9)
    return figure


def rank_share(run: Run, by: str = "type") -> go.Figure:
    """Draw the share of all rank that each module type or layer holds, and the total above.

    ``by`` is ``type`` or ``layer`` (ValueError otherwise); more than 12 layers are put together into bands.
    """
    table = TABLES["rank_share"](run, by)
    title = f"Share of rank by {'module type' if by == 'type' else 'layer'}"
    if not len(run.steps):
        return empty_figure(title, NO_RECORDS)
    shares, ranks, total = (
        numbers(table, name).reshape(len(run.steps), -1) for name in ("rank_share", "rank", "total_rank")
    )
    figure = panels(title, ["total rank", "share of rank"], 480, [0.22, 0.78])
    curve(figure, run.steps, total[:, 0], "total rank", TRUE)
    count = shares.shape[1]
    for number, name in enumerate(table["group"].to_pylist()[:count]):
        # Layers have an order, module types have none.
        ordered = blend(BLUES, 0.12 + 0.8 * number / max(1, count - 1))
        colour = ordered if by == "layer" else SEQUENCE[number % len(SEQUENCE)]
        told = "rank %{customdata}, %{y:.1%}"
        band(figure, run.steps, shares[:, number], name, colour, number, told, row=2, customdata=ranks[:, number])
    return figure.update_yaxes(range=[0, 1], tickformat=".0%", row=2, col=1)


def rank_trajectories(run: Run, highlight: Sequence[str] | None = None, measure: str = "rank") -> go.Figure:
    """Draw every matrix as a line, a few of them coloured over the others in grey.

    ``highlight`` names matrices, None = the eight that moved most, net and then in all; ``measure`` is a key of
    ``QUANTITIES``; unknown ones raise ValueError. Lines of ranks are moved by at most ±0.15 directions, always in the
    same way, so that equal ranks stand beside each other; the pointer reads the rank itself.
    """
    asked = quantity(measure)
    title = f"{capital(asked.label)} of each matrix"
    table = TABLES["rank_trajectories"](run, highlight, measure)
    if not len(run.steps):
        return empty_figure(title, NO_RECORDS)
    count, whole = len(run.matrices), measure in ("rank", "change")
    values = numbers(table, asked.column).reshape(run.ranks.shape)
    shifted = values + (jitter(count) if whole else 0.0)
    chosen = np.flatnonzero(numbers(table, "highlighted")[:count]).tolist()
    if highlight is not None:
        chosen = [run.places[name] for name in dict.fromkeys(highlight)]
    drawn = selected_records(run, MOST_COLUMNS)
    figure = panels(title + of_records(run, len(drawn)), [asked.label], 440)
    others = [place for place in range(count) if place not in chosen]
    # A rank is drawn exactly by the records at which it changed.
    kept = [_turns(values[:, place]) if whole else drawn for place in others]
    xs = [part for own in kept for part in (run.steps[own].astype(np.float64), [np.nan])]
    ys = [part for place, own in zip(others, kept, strict=True) for part in (shifted[own, place], [np.nan])]
    if others:
        curve(figure, np.concatenate(xs), np.concatenate(ys), f"{len(others)} others", GREY, width=1, told="")
    for number, place in enumerate(chosen):
        label, colour = matrix_label(run.matrices[place]), SEQUENCE[number % len(SEQUENCE)]
        own = {"customdata": values[drawn, place], "legendgroup": label, "told": f"{asked.label} %{{customdata:.4g}}"}
        curve(figure, run.steps[drawn], shifted[drawn, place], label, colour, width=2.2, **own)
        _add_moves(figure, run, place, shifted[:, place], label, SYMBOLS[number % len(SYMBOLS)])
    low, high = asked.range
    return figure if low is None or high is None else figure.update_yaxes(range=[low, high + 0.02 * (high - low)])


def of_records(run: Run, drawn: int) -> str:
    """Return what a title says where not every record is drawn."""
    return "" if drawn == len(run.steps) else f" ({drawn} of {len(run.steps)} records drawn, every event among them)"


def jitter(count: int) -> np.ndarray:
    """Return shifts within ±0.15 that keep neighbours apart, the same for every figure, (count,)."""
    # Multiples of the golden ratio modulo 1 fill the interval evenly for any count.
    return JITTER * (2 * ((np.arange(count) * 0.6180339887498949) % 1.0) - 1)


def _turns(values: np.ndarray) -> np.ndarray:
    return np.unique([0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values) - 1])


def _add_moves(figure: go.Figure, run: Run, place: int, values: np.ndarray, label: str, symbol: str) -> None:
    """Mark the events of a highlighted matrix; its symbol tells its line without the colour."""
    name = run.matrices[place].name
    for half, colour, word, soft in (
        ("prune", PRUNED, "pruned", "switched off"),
        ("extend", EXTENDED, "extended", "back on"),
    ):
        own = [
            (e["step"], soft if is_soft(move) else word)
            for e in run.events
            for move in e[half]
            if move["matrix"] == name
        ]
        if own:
            steps, words = zip(*own, strict=True)
            records = np.maximum(0, np.searchsorted(run.steps, steps, side="right") - 1)
            marker = {"symbol": symbol, "size": 7, "color": colour, "line": {"width": 1, "color": "#ffffff"}}
            grouped = {"legendgroup": label, "showlegend": False, "text": words}
            marks(figure, steps, values[records], f"{label} {word}", marker, "%{text}", **grouped)


def compare_curves(runs: Mapping[str, Run]) -> go.Figure:
    """Draw task loss, total rank and active parameters of several runs over each other.

    ``runs`` is label → run, in the order of the legend. A method has one colour and symbol in every figure; later runs
    of the same method have another dash.
    """
    table = TABLES["compare_curves"](runs)
    if not len(table):
        return empty_figure("Runs compared", "None of these runs has records yet.")
    figure = panels("Runs compared", list(COMPARED.values()), 620)
    run_of, curve_of, steps = (table[name].to_numpy(zero_copy_only=False) for name in ("run", "curve", "step"))
    values = numbers(table, "value")
    for number, (label, style) in enumerate(_looks(runs).items()):
        for row, (key, title) in enumerate(COMPARED.items(), 1):
            own = (run_of == label) & (curve_of == key)
            look = {"shape": "linear" if key == "task_loss" else "hv", "row": row, "showlegend": row == 1}
            _run_curve(figure, steps[own], values[own], label, style, number, title, **look)
    return figure.update_layout(legend={"itemsizing": "constant", "y": -0.1})


def total_rank(runs: Mapping[str, Run]) -> go.Figure:
    """Draw the total rank of each run against the step.

    ``runs`` and their looks are those of ``compare_curves``. Thin and dashed in the same colour: the mean number of
    directions that a training step uses, where that differs from the rank.
    """
    figure = panels("Total rank", ["directions, all matrices"], 450)
    looks = _looks(runs)
    for number, (label, run) in enumerate(runs.items()):
        if not len(run.steps):
            continue
        totals, means = total_of(run), run.expected_ranks.sum(axis=1)
        _run_curve(figure, run.steps, totals, label, looks[label], number, "total rank")
        if np.abs(means - totals).max() > SAME:
            name, told = f"{label}: used a step", "%{y:.1f} used in a training step, on average"
            look: dict[str, Any] = {"dash": "dash", "width": 1.25, "legendgroup": label}
            curve(figure, run.steps, means, name, looks[label]["color"], told=told, **look)
    legend = {"orientation": "v", "x": 1.01, "y": 1.0, "itemsizing": "constant"}
    return figure.update_layout(legend=legend, margin={"r": 170})


def _looks(runs: Mapping[str, Run]) -> dict[str, dict[str, Any]]:
    """A colour and symbol a method, another dash for each later run of it."""
    methods = [run.header.get("method") for run in runs.values()]
    return {label: method_style(methods[i], methods[:i].count(methods[i])) for i, label in enumerate(runs)}


def _run_curve(
    figure: go.Figure,
    x: np.ndarray,
    y: np.ndarray,
    label: str,
    style: dict[str, Any],
    number: int,
    title: str,
    **more: Any,
) -> None:
    """Add the curve of one run, with a few symbols on it."""
    sizes = np.zeros(len(x))
    sizes[spread_marks(len(x), number)] = 8
    marker = {"symbol": style["symbol"], "size": sizes, "color": style["color"], "line": {"width": 0}}
    own = {"mode": "lines+markers", "marker": marker, "legendgroup": label, "told": f"{title} %{{y:.4g}}"}
    curve(figure, x, y, label, style["color"], dash=style["dash"], **own, **more)
