"""How stable the order of the matrices is: within a run, and over the seeds of a group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from analysis.figures.looks import error_bars, marker, variant_numbers, variant_style
from analysis.figures.painters import curve, panels
from analysis.figures.theme import DASHES, NO_RECORDS, SEQUENCE, TRUE, empty_figure, styled
from analysis.runs import Run
from analysis.stability import MeanStability
from analysis.tables import TABLES
from analysis.tables.columns import numbers
from flexlora.importance import measure_label

SYMBOLS = ("circle", "square", "diamond", "cross", "triangle-up", "triangle-down", "star", "pentagon", "hexagon")
CONTROL = "random"
SPEARMAN = "Spearman's ρ with the event before"
ROW_PX, AROUND_PX = 34, 150


def order_stability(run: Run) -> go.Figure:
    """Draw how much of its order of the matrices each measure keeps from one event to the next.

    Spearman's correlation of two events that follow each other, at the later one: 1 = the same order, 0 = none in
    common. ``random`` draws anew each time.
    """
    table, title = TABLES["order_stability"](run), "Stability of each measure's order"
    if not len(run.steps) and not run.events:
        return empty_figure(title, NO_RECORDS)
    names = list(dict.fromkeys(table["measure"].to_pylist()))
    if not names:
        return empty_figure(title, "This run logged no two events, whose orders could be compared.")
    figure = panels(title, [SPEARMAN], 440)
    measure, steps = (table[name].to_numpy(zero_copy_only=False) for name in ("measure", "step"))
    values = numbers(table, "spearman")
    coloured = [name for name in names if name != CONTROL]
    for name in names:
        own, place = measure == name, coloured.index(name) if name in coloured else 0
        colour = TRUE if name == CONTROL else SEQUENCE[place % len(SEQUENCE)]
        symbol = "x" if name == CONTROL else SYMBOLS[place % len(SYMBOLS)]
        dash = "dot" if name == CONTROL else DASHES[place // len(SEQUENCE) % len(DASHES)]
        marker = {"symbol": symbol, "size": 7, "color": colour}
        look = {"mode": "lines+markers", "marker": marker, "shape": "linear", "width": 1.5}
        curve(figure, steps[own], values[own], measure_label(name), colour, dash=dash, told="ρ %{y:.2f}", **look)
    figure.add_hline(y=0, line={"color": TRUE, "width": 1})
    low = float(np.nanmin(values)) if np.isfinite(values).any() else 0.0
    return figure.update_yaxes(range=[min(-0.05, low - 0.05), 1.05])


def group_stability(groups: Mapping[str, Sequence[MeanStability]], methods: Sequence[str] = ()) -> go.Figure:
    """Draw the mean stability of each measure's order, with its 95 % interval over seeds, a symbol a group.

    ``groups`` is label → ``analysis.stability.mean_stability`` of its runs; ``methods`` are those of the groups, for
    their colours.
    """
    title = "Stability of each measure's order, mean over events and seeds"
    labels = list(dict.fromkeys(one.label for own in groups.values() for one in own))
    if not labels:
        return empty_figure(title, "No run of these logged two events.")
    figure = styled(go.Figure(), title=title, x=SPEARMAN, y="")
    shown = [name for name, own in groups.items() if own]
    looks = dict(zip(groups, map(variant_style, methods, variant_numbers(methods)), strict=False))
    for number, name in enumerate(shown):
        style = looks.get(name) or {"color": SEQUENCE[number % len(SEQUENCE)], "symbol": SYMBOLS[number % len(SYMBOLS)]}
        style = {key: style[key] for key in ("color", "symbol")}
        own = groups[name]
        # Beside each other in a row, so that none hides another.
        shift = 0.5 * ((number + 0.5) / len(shown) - 0.5)
        figure.add_scatter(
            x=[one.mean for one in own],
            y=[labels.index(one.label) + shift for one in own],
            error_x=error_bars([one.mean for one in own], [(one.low, one.high) for one in own], style["color"]),
            mode="markers",
            marker=marker(style, 9, 1.5),
            name=name,
            text=[f"{one.label}, {one.n} runs" for one in own],
            hovertemplate=f"{name}<br>%{{text}}<br>ρ %{{x:.3f}}<extra></extra>",
        )
    figure.add_vline(x=0, line={"color": TRUE, "width": 1})
    ticks = {"tickvals": list(range(len(labels))), "ticktext": labels}
    figure.update_yaxes(**ticks, range=[len(labels) - 0.5, -0.5], automargin=True)
    height = AROUND_PX + ROW_PX * len(labels)
    return figure.update_layout(height=height, legend={"y": -60 / (height - 92), "yanchor": "top"})
