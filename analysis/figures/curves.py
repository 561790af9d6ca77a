"""Loss, moves, and what became of them, over time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.directions import move_words
from analysis.figures.theme import (
    EXTENDED,
    NO_RECORDS,
    PRUNED,
    SEQUENCE,
    STEP,
    TRUE,
    empty_figure,
    method_style,
    styled,
)
from analysis.runs import Run
from analysis.tables import TABLES
from analysis.tables.columns import numbers
from analysis.tables.curves import loss_window

TASK, REGULARIZER, PENALTY = SEQUENCE[0], SEQUENCE[6], SEQUENCE[5]
MARKS = 7
CURVES = {
    "task_loss": "task loss (mean of the last steps)",
    "total_rank": "total rank",
    "parameters": "active parameters",
}


def loss(run: Run) -> go.Figure:
    """Draw the task loss with its trailing mean, γ times the regulariser, and a method's own penalty, each apart.

    Args:
        run: a loaded run.
    """
    table = TABLES["loss"](run)
    parts = [
        ("task loss", "task_loss", TASK, "solid"),
        ("γ · regulariser", "weighted_regularizer", REGULARIZER, "dash"),
    ]
    parts.append(("penalty, as weighted", "penalty", PENALTY, "dot"))
    shown = [part for part in parts if np.isfinite(numbers(table, part[1])).any()]
    if not shown:
        return empty_figure("Loss", NO_RECORDS if not len(table) else "This run logged no loss.")
    figure = make_subplots(
        rows=len(shown),
        cols=1,
        shared_xaxes=True,
        row_heights=[2.0 if part[1] == "task_loss" else 1.0 for part in shown],
        vertical_spacing=0.07,
    )
    steps, window = table["step"].to_numpy(), loss_window(run)
    styled(figure, title="Loss, its parts apart", x="", y="")
    figure.update_xaxes(title=None).update_xaxes(title=STEP, row=len(shown), col=1)
    for number, (label, column, colour, dash) in enumerate(shown, 1):
        smooth = column == "task_loss" and window > 1
        lines = [(label, column, 0.35 if smooth else 1.0, 1.0 if smooth else 1.6)]
        if smooth:
            lines.append((f"mean of the last {window}", "task_loss_trailing_mean", 1.0, 2.0))
        for name, own, opacity, width in lines:
            figure.add_scatter(
                x=steps,
                y=numbers(table, own),
                name=name,
                mode="lines",
                opacity=opacity,
                line={"color": colour, "width": width, "dash": dash},
                hovertemplate=f"step %{{x}}<br>{name} %{{y:.4g}}<extra></extra>",
                row=number,
                col=1,
            )
        figure.update_yaxes(title=label, rangemode="tozero", row=number, col=1)
    return figure.update_layout(height=200 + 110 * len(shown))


def moves(run: Run) -> go.Figure:
    """Draw the directions of each event, extended up and pruned down, within b(t) where the method has one.

    Args:
        run: a loaded run.
    """
    table = TABLES["moves"](run)
    if not len(table):
        return empty_figure("Moves of each event", "This run logged no event and has no budget of moves.")
    steps, budget = table["step"].to_numpy(), numbers(table, "budget")
    at = np.isfinite(numbers(table, "pruned"))
    span = max(run.total_steps, int(steps[-1]), 1)
    gaps = np.diff(steps[at])
    width = max(1.0, min(span / 150, 0.8 * float(gaps.min()) if len(gaps) else span / 150))
    pruned, extended = move_words(run)
    figure = go.Figure()
    for column, name, colour, sign, pattern in (
        ("extended", f"+ {extended}", EXTENDED, 1, ""),
        ("pruned", f"− {pruned}", PRUNED, -1, "/"),
    ):
        counts = numbers(table, column)[at]
        figure.add_bar(
            x=steps[at],
            y=sign * counts,
            customdata=counts,
            width=width,
            name=name,
            marker={"color": colour, "pattern": {"shape": pattern, "size": 4, "solidity": 0.3}},
            hovertemplate=f"step %{{x}}<br>%{{customdata}} {name[2:]}<extra></extra>",
        )
    for sign in (1, -1):
        if np.isfinite(budget).any():
            figure.add_scatter(
                x=steps,
                y=sign * budget,
                name="b(t)",
                legendgroup="budget",
                showlegend=sign > 0,
                mode="lines",
                connectgaps=True,
                line={"color": TRUE, "width": 1.2, "shape": "hv"},
                hovertemplate="step %{x}<br>b(t) %{y}<extra></extra>",
            )
    styled(figure, title="Moves of each event", x=STEP, y="directions")
    figure.update_xaxes(range=[0, span])
    return figure.update_layout(barmode="relative", height=320)


def net_gross(run: Run, within: int = 1) -> go.Figure:
    """Draw the directions moved so far, how many of them stand elsewhere than at the start, and the churn.

    Args:
        run: a loaded run.
        within: a prune counts as churn when it removes a direction that was added in the last so many events.

    Raises:
        ValueError: ``within`` is below 1.
    """
    table = TABLES["net_gross"](run, within)
    if not len(table):
        return empty_figure("Net and gross moves", NO_RECORDS)
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.65, 0.35], vertical_spacing=0.08)
    for column, name, colour, dash, row in (
        ("gross_moves", "gross: moved so far", SEQUENCE[1], "solid", 1),
        ("net_moves", "net: stand elsewhere than at the start", SEQUENCE[0], "dash", 1),
        ("churn", f"churn within {within} event{'s' if within > 1 else ''}", SEQUENCE[5], "dot", 2),
    ):
        figure.add_scatter(
            x=table["step"].to_numpy(),
            y=numbers(table, column),
            name=name,
            mode="lines",
            line={"color": colour, "width": 2, "dash": dash, "shape": "hv"},
            hovertemplate=f"step %{{x}}<br>{name} %{{y:.4g}}<extra></extra>",
            row=row,
            col=1,
        )
    styled(figure, title="Net and gross moves", x="", y="")
    figure.update_xaxes(title=None, row=1, col=1).update_xaxes(title=STEP, row=2, col=1)
    figure.update_yaxes(title="directions", rangemode="tozero", row=1, col=1)
    figure.update_yaxes(title="share of prunes", range=[-0.02, 1.02], tickformat=".0%", row=2, col=1)
    if not run.events:
        figure.add_annotation(
            text="no event in this log: how much moved between records is unknown",
            x=0.5, y=0.9, xref="paper", yref="paper", showarrow=False,
        )  # fmt: skip
    return figure.update_layout(height=420)


def compare_curves(runs: Mapping[str, Run]) -> go.Figure:
    """Draw task loss, total rank and active parameters of several runs over each other.

    A method has one colour and symbol in every figure; later runs of the same method have another dash.

    Args:
        runs: label → run, in the order of the legend.
    """
    table = TABLES["compare_curves"](runs)
    if not len(table):
        return empty_figure("Runs compared", "None of these runs has records yet.")
    figure = make_subplots(rows=len(CURVES), cols=1, shared_xaxes=True, vertical_spacing=0.06)
    own = {name: table[name].to_numpy(zero_copy_only=False) for name in ("run", "curve", "step")}
    values = numbers(table, "value")
    seen: dict[str | None, int] = {}
    for number, (label, run) in enumerate(runs.items()):
        method = run.header.get("method")
        style = method_style(method, seen.get(method, 0))
        seen[method] = seen.get(method, 0) + 1
        for row, (curve, title) in enumerate(CURVES.items(), 1):
            chosen = (own["run"] == label) & (own["curve"] == curve)
            # One symbol in each of so many pieces of the line, shifted from run to run, so that none hides another.
            count = int(chosen.sum())
            places = (np.arange(MARKS) + (number % MARKS) / MARKS) / MARKS * count
            sizes = np.zeros(count)
            sizes[np.unique(places.astype(np.int64)) if count else []] = 8
            figure.add_scatter(
                x=own["step"][chosen],
                y=values[chosen],
                name=label,
                legendgroup=label,
                showlegend=row == 1,
                mode="lines+markers",
                line={
                    "color": style["color"],
                    "dash": style["dash"],
                    "width": 1.8,
                    "shape": "linear" if curve == "task_loss" else "hv",
                },
                marker={"symbol": style["symbol"], "size": sizes, "color": style["color"], "line": {"width": 0}},
                hovertemplate=f"{label}<br>step %{{x}}<br>{title} %{{y:.4g}}<extra></extra>",
                row=row,
                col=1,
            )
    styled(figure, title="Runs compared", x="", y="")
    figure.update_xaxes(title=None).update_xaxes(title=STEP, row=len(CURVES), col=1)
    for row, title in enumerate(("task loss, mean", "total rank", "active parameters"), 1):
        figure.update_yaxes(title=title, rangemode="tozero", row=row, col=1)
    return figure.update_layout(height=620, legend={"itemsizing": "constant", "y": -0.1})
