"""Paired differences, a row a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from analysis.figures.looks import by_place, error_bars, marker, place_panels, variant_numbers, variant_style
from analysis.figures.theme import TRUE, empty_figure, names_of, styled
from analysis.study import Compared
from analysis.study.write import NOTHING, number_text

ROW_PX, PANEL_PX = 54, 95
MARGIN = {"t": 60, "b": 96}
ROOM = 0.12
"""Share of the range that is left free at each side."""


def forest(found: Sequence[Compared], margin: float | None = None) -> go.Figure:
    """Draw the paired difference of each variant to its reference with its 95 % interval.

    Grey ticks are the detectable effect, the smallest true difference that so many pairs would find with 80 % power.
    The band is ± ``margin``, within which a difference would not matter. n pairs, p after Holm, and the verdict stand
    over each row.
    """
    groups = by_place(one for one in found if one.pairs is not None)
    if not groups:
        return empty_figure("Differences", "No two variants share a seed.")
    sizes = [len(own) for own in groups.values()]
    height = sum(MARGIN.values()) + PANEL_PX * (len(groups) - 1) + ROW_PX * sum(sizes)
    figure, alone = place_panels(
        list(groups),
        row_heights=[size + 0.4 for size in sizes],
        vertical_spacing=PANEL_PX / (height - sum(MARGIN.values())) if len(groups) > 1 else 0,
    )
    styled(figure, title=f"Paired differences{alone}", x="", y="")
    for row, own in enumerate(groups.values(), 1):
        _add_panel(figure, own, margin, row)
    inside = height - sum(MARGIN.values())
    return figure.update_layout(height=height, legend={"y": -50 / inside, "yanchor": "top"}, margin=MARGIN)


def _add_panel(figure: go.Figure, own: Sequence[Compared], margin: float | None, row: int) -> None:
    at: dict[str, Any] = {"row": row, "col": 1}
    for place, (one, number) in enumerate(zip(own, variant_numbers(one.method for one in own), strict=True)):
        _add_row(figure, one, number, place, row)
    axis = "" if row == 1 else str(row)
    if margin:
        figure.add_vrect(x0=-margin, x1=margin, fillcolor="rgba(127,127,127,0.16)", line_width=0, layer="below", **at)
        if row == 1:
            look = {"symbol": "square", "size": 12, "color": "rgba(127,127,127,0.3)"}
            figure.add_scatter(x=[None], y=[None], mode="markers", marker=look, name=f"± {margin:g} would not matter")
    figure.add_vline(x=0, line={"color": TRUE, "width": 1}, **at)
    first = own[0]
    better = "less is better" if first.lower_is_better else "more is better"
    extent = _extent(own, margin)
    figure.update_xaxes(
        title=f"{first.metric.replace('_', ' ')} − that of {first.reference} ({better})", range=extent, **at
    )
    labels = [one.variant for one in own]
    ticks: dict[str, Any] = {
        "tickvals": list(range(len(own))),
        "ticktext": labels,
        "automargin": True,
        "showgrid": False,
    }
    figure.update_yaxes(range=[len(own) - 0.55, -0.7], **ticks, **at)
    for place, one in enumerate(own):
        figure.add_annotation(
            text=_told(one),
            x=0.01,
            xref=f"x{axis} domain",
            xanchor="left",
            y=place - 0.36,
            yref=f"y{axis}",
            showarrow=False,
            font={"size": 11},
        )


def _add_row(figure: go.Figure, one: Compared, number: int, place: int, row: int) -> None:
    pairs = one.pairs
    assert pairs is not None
    style, at = variant_style(one.method, number), {"row": row, "col": 1}
    if np.isfinite(pairs.detectable):
        name = "detectable with 80 % power"
        figure.add_scatter(
            x=[-pairs.detectable, pairs.detectable],
            y=[place, place],
            mode="markers",
            marker={"symbol": "line-ns", "size": 14, "line": {"width": 2, "color": TRUE}},
            name=name,
            legendgroup=name,
            showlegend=name not in names_of(figure),
            hovertemplate=f"{one.variant}<br>detectable: ± {pairs.detectable:.4g}<extra></extra>",
            **at,
        )
    figure.add_scatter(
        x=[pairs.mean],
        y=[place],
        error_x=error_bars([pairs.mean], [(pairs.low, pairs.high)], style["color"], 2),
        mode="markers",
        marker=marker(style, 11),
        name=one.variant,
        showlegend=False,
        hovertemplate=f"{one.variant}<br>%{{x:.4g}} [{pairs.low:.4g}, {pairs.high:.4g}]<br>{_told(one)}<extra></extra>",
        **at,
    )


def _told(one: Compared) -> str:
    pairs = one.pairs
    assert pairs is not None
    parts = [one.verdict or NOTHING, f"{pairs.n} pair{'s' * (pairs.n != 1)}"]
    if np.isfinite(one.adjusted_p):
        parts.append(f"p {number_text(one.adjusted_p, 3)}")
    return " · ".join(parts)


def _extent(own: Sequence[Compared], margin: float | None) -> list[float]:
    ends = [0.0, -(margin or 0.0), margin or 0.0]
    for one in own:
        assert one.pairs is not None
        ends += [one.pairs.mean, one.pairs.low, one.pairs.high, one.pairs.detectable, -one.pairs.detectable]
    known = np.array(ends)[np.isfinite(ends)]
    room = ROOM * (float(np.ptp(known)) or 1.0)
    return [float(known.min()) - room, float(known.max()) + room]
