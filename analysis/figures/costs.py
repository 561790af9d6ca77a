"""What a training step costs: its ratio to PEFT's LoRA, where its time goes, and how both grow."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.costs import BASELINE, FLOOR, Contestant, Measurement, Series, against
from analysis.costs.series import GROWING
from analysis.costs.words import OWN, RUN_WORDS, capital, label, ratio_text, series_title
from analysis.figures.looks import error_bars, marker, variant_style, veil
from analysis.figures.theme import DASHES, SEQUENCE, TRUE, empty_figure, method_style, names_of, styled

LOOKS: dict[str, dict[str, Any]] = {
    OWN: method_style("flexlora"),
    "flexlora_tight": variant_style("flexlora", 1),
    "flexlora_top": variant_style("flexlora", 2),
    BASELINE: method_style("lora"),
    "hand_lora": variant_style("lora", 1),
    "our_lora": variant_style("lora", 2),
    "peft_adalora": method_style("adalora"),
    FLOOR: {"color": TRUE, "symbol": "x"},
}
"""Contestant → its look: that of its method."""
HATCHED = {"size": 6, "fillmode": "overlay", "solidity": 0.35}
PARTS: dict[str, tuple[str, dict[str, Any]]] = {
    "floor": ("busy, as without an adapter", {"color": TRUE}),
    "above": ("busy, for the adapter", {"color": SEQUENCE[5], "pattern": {"shape": "/", **HATCHED}}),
    "idle": (
        "idle: waits for the host",
        {
            "color": veil(TRUE, 0.1),
            "line": {"color": TRUE, "width": 1},
            "pattern": {"shape": ".", **HATCHED, "fgcolor": TRUE, "solidity": 0.15},
        },
    ),
}
"""Part of a step's time on the GPU → what it is called and how it is filled: idle is hollow."""
TICKS = (0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1, 1.5, 2, 3, 4, 6, 10)
ROW_PX = 26
MARGIN = {"l": 110, "r": 130, "t": 44, "b": 64}
LEGEND_PX = 40
NOT_MEASURED = "not measured"


def step_ratio(found: Measurement) -> go.Figure:
    """Draw the mean step of each contestant, events included, as a ratio to PEFT's LoRA run eagerly.

    A dot is the median over rounds, its bar the lowest and highest round; 1 is marked. A panel a way to run it.
    """
    title = "A step's time against PEFT LoRA"
    if not any(one.ratio for one in found.contestants):
        return empty_figure(title, "No contestant was measured beside PEFT LoRA.")
    ends = [end for one in found.contestants if one.ratio for end in (one.ratio.low, one.ratio.high)]
    reach = min(1.0, *ends) / 1.1, max(1.0, *ends) * 1.1
    figure = _panels(found, title, lambda one: "" if one.ratio is None else ratio_text(one.ratio))
    for row, run in enumerate(found.runs(), 1):
        for place, one in enumerate(_rows(found, run)):
            if one.ratio is not None:
                _add_dot(figure, one, place, row)
        figure.add_vline(x=1, line={"color": TRUE, "width": 1.5, "dash": "dash"}, row=row, col=1)  # pyright: ignore[reportArgumentType]
    range_of = [math.log10(end) for end in reach]
    figure.update_xaxes(type="log", range=range_of, tickvals=TICKS, ticktext=[f"{tick:g}" for tick in TICKS])
    return _with_title(figure, found, "mean step × that of PEFT LoRA run eagerly (less is better; log scale)")


def step_time(found: Measurement) -> go.Figure:
    """Draw where the time of a step without event goes on the GPU: busy as without an adapter, busy for it, idle.

    Idle is the median step less the busy time of a step, which was measured apart.
    """
    title = "Where a step's time goes on the GPU"
    sums = [sum(parts.values()) for one in found.contestants if (parts := _parts(found, one))]
    if not sums:
        return empty_figure(title, "GPU busy time was not measured (--busy).")
    figure = _panels(found, title, lambda one: _busy_text(found, one), LEGEND_PX)
    for row, run in enumerate(found.runs(), 1):
        rows = _rows(found, run)
        known = [(place, one, parts) for place, one in enumerate(rows) if (parts := _parts(found, one))]
        for key, (name, fill) in PARTS.items():
            figure.add_bar(
                x=[parts[key] for _, _, parts in known],
                y=[place for place, _, _ in known],
                orientation="h",
                width=0.72,
                name=name,
                legendgroup=name,
                showlegend=name not in names_of(figure),
                marker=fill,
                text=[label(one.method) for _, one, _ in known],
                textposition="none",
                hovertemplate=f"%{{text}}<br>{name}: %{{x:.1f}} ms<extra></extra>",
                row=row,
                col=1,
            )  # fmt: skip
    figure.update_xaxes(range=[0, 1.02 * max(sums)])
    _with_title(figure, found, "ms of a step without event")
    layout: Any = figure.layout
    inside = layout.height - MARGIN["t"] - MARGIN["b"] - LEGEND_PX
    return figure.update_layout(
        barmode="stack", legend={"y": -48 / inside, "yanchor": "top"}, margin={"b": MARGIN["b"] + LEGEND_PX}
    )


def cost_growth(series: Series) -> go.Figure:
    """Draw the mean step of FlexLoRA over that of PEFT's LoRA run alike, against the number that a series changes."""
    title = series_title(series)
    figure = styled(go.Figure(), title=title, x=GROWING[series.key], y="mean step × PEFT LoRA run alike")
    runs = list(dict.fromkeys(run for found in series.points.values() for run in found.runs()))
    for number, run in enumerate(runs):
        known = [
            (value, ratio)
            for value, found in series.points.items()
            if (ratio := against(found.of(OWN, run), found.of(BASELINE, run)))
        ]
        colour = SEQUENCE[number]
        medians = [ratio.median for _, ratio in known]
        figure.add_scatter(
            x=[value for value, _ in known],
            y=medians,
            error_y=error_bars(medians, [(ratio.low, ratio.high) for _, ratio in known], colour),
            mode="lines+markers",
            line={"color": colour, "dash": DASHES[number]},
            marker={"size": 9, "color": colour, "symbol": ("circle", "diamond", "square", "cross")[number]},
            name=RUN_WORDS[run],
            text=[ratio_text(ratio) for _, ratio in known],
            hovertemplate=f"%{{x}}: %{{text}}<br>{RUN_WORDS[run]}<extra></extra>",
        )
    if not any(len(trace.x) for trace in figure.data):  # pyright: ignore[reportAttributeAccessIssue]
        return empty_figure(title, "FlexLoRA was not measured beside PEFT LoRA.")
    figure.add_hline(y=1, line={"color": TRUE, "width": 1.5, "dash": "dash"})  # pyright: ignore[reportArgumentType]
    return figure.update_xaxes(
        type="log", tickvals=list(series.points), ticktext=list(map(str, series.points))
    ).update_layout(height=320)


def _panels(found: Measurement, title: str, told: Callable[[Contestant], str], legend_px: int = 0) -> go.Figure:
    """Return a figure with a panel a way to run contestants: a heading, and a row each with what is told at its right.

    All of this is text of axes, for it has the page's own colour: annotations are too faint on white.
    """
    runs = found.runs()
    sizes = [1 + len(_rows(found, run)) for run in runs]
    figure = make_subplots(
        rows=len(runs),
        cols=1,
        shared_xaxes=True,
        row_heights=sizes,
        vertical_spacing=0,
        specs=[[{"secondary_y": True}] for _ in runs],
    )
    styled(figure, title=title, x="", y="")
    for row, run in enumerate(runs, 1):
        rows = _rows(found, run)
        look: dict[str, Any] = {"range": [len(rows) - 0.5, -1.5], "showgrid": False, "automargin": True}
        names = [f"<i>{capital(RUN_WORDS[run])}</i>", *map(_tick, rows)]
        figure.update_yaxes(
            tickvals=list(range(-1, len(rows))), ticktext=names, **look, row=row, col=1, secondary_y=False
        )
        said = [NOT_MEASURED if one.failed else told(one) for one in rows]
        figure.update_yaxes(
            tickvals=list(range(len(rows))), ticktext=said, **look, row=row, col=1, secondary_y=True, zeroline=False
        )
        # An axis without a trace is not drawn.
        figure.add_scatter(x=[None], y=[None], showlegend=False, name="", row=row, col=1, secondary_y=True)
    height = ROW_PX * sum(sizes) + MARGIN["t"] + MARGIN["b"] + legend_px
    return figure.update_layout(height=height, margin=MARGIN, showlegend=bool(legend_px))


def _with_title(figure: go.Figure, found: Measurement, title: str) -> go.Figure:
    """Name the axis that all panels share, below the last one."""
    last: dict[str, Any] = {"row": len(found.runs()), "col": 1}
    figure.update_xaxes(title=None)
    figure.update_xaxes(title=title, **last)
    return figure


def _add_dot(figure: go.Figure, one: Contestant, place: int, row: int) -> None:
    ratio = one.ratio
    assert ratio is not None
    style = LOOKS.get(one.method) or method_style(None)
    figure.add_scatter(
        x=[ratio.median],
        y=[place],
        error_x=error_bars([ratio.median], [(ratio.low, ratio.high)], style["color"], 2),
        mode="markers",
        marker=marker(style, 11),
        name=one.name,
        hovertemplate=f"{label(one.method)}, {RUN_WORDS[one.run]}<br>{ratio_text(ratio)}<extra></extra>",
        row=row,
        col=1,
    )


def _tick(one: Contestant) -> str:
    return f"<b>{label(one.method)}</b>" if one.method == OWN else label(one.method)


def _rows(found: Measurement, run: str) -> list[Contestant]:
    return [one for one in found.contestants if one.run == run]


def _parts(found: Measurement, one: Contestant) -> dict[str, float] | None:
    """Return ms of each of ``PARTS``; None where busy time was not measured."""
    if one.failed or one.busy_ms is None or one.step_ms_median is None:
        return None
    # The kernels of a model without an adapter take as long however they are launched.
    floor = found.of(FLOOR, one.run) or found.of(FLOOR)
    # Without a floor beside it, all that is busy counts for both.
    above = 0.0 if floor is None or floor.busy_ms is None else max(0.0, one.busy_ms - floor.busy_ms)
    return {"floor": one.busy_ms - above, "above": above, "idle": max(0.0, one.step_ms_median - one.busy_ms)}


def _busy_text(found: Measurement, one: Contestant) -> str:
    parts = _parts(found, one)
    return "" if parts is None else f"{one.busy_ms:.1f} of {max(sum(parts.values()), 0):.1f} ms busy"


COST_FIGURES: dict[str, Callable[..., go.Figure]] = {
    figure.__name__: figure for figure in (step_ratio, step_time, cost_growth)
}
"""Name → f(measurement, or series of them) → figure."""
