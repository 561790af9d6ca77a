"""What the trials of a search reached."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from analysis.figures.looks import by_place, marker, place_panels, variant_numbers, variant_style
from analysis.figures.theme import TRUE, empty_figure, names_of, styled
from analysis.study import RateCurve

PANEL_PX, AROUND_PX = 280, 130
CHOSEN, AT_END = "chosen", "chosen, at an end of what was tried"
LAST = 2000
MOST_TICKS = 8
"""Rates that stand on the axis each by itself; more run together."""


def learning_rates(curves: Sequence[RateCurve]) -> go.Figure:
    """Draw what each trial of the search reached on validation against its learning rate; a ring is the choice.

    A square ring is a choice at an end of the rates tried: beyond it there may be a better one.
    """
    groups = by_place(curves)
    if not groups:
        return empty_figure("Learning rates", "Nothing was tuned: this study has no search.")
    figure, alone = place_panels(list(groups), vertical_spacing=0.28 / len(groups))
    styled(figure, title=f"Learning rates tried{alone}", x="learning rate (log scale)", y="")
    for row, own in enumerate(groups.values(), 1):
        for one, number in zip(own, variant_numbers(one.method for one in own), strict=True):
            _add_curve(figure, one, number, row)
        better = "less" if own[0].lower_is_better else "more"
        figure.update_yaxes(title=f"validation {own[0].metric}, {better} is better", row=row, col=1)
    figure.update_xaxes(type="log")
    tried = np.unique(np.concatenate([one.rates for one in curves]))
    if len(tried) <= MOST_TICKS:
        figure.update_xaxes(tickvals=tried, ticktext=[f"{rate:.3g}" for rate in tried])
    height = AROUND_PX + PANEL_PX * len(groups)
    return figure.update_layout(height=height, legend={"y": -76 / height, "yanchor": "top", "itemsizing": "constant"})


def _add_curve(figure: go.Figure, one: RateCurve, number: int, row: int) -> None:
    style, at = variant_style(one.method, number), {"row": row, "col": 1}
    told = [f"<br>{other}" if other else "" for other in one.others]
    figure.add_scatter(
        x=one.rates,
        y=one.values,
        mode="lines+markers",
        line={"color": style["color"], "dash": style["dash"], "width": 2},
        marker=marker(style, 8, 1.5),
        name=one.variant,
        legendgroup=one.variant,
        showlegend=one.variant not in names_of(figure),
        customdata=told,
        hovertemplate=f"{one.variant}<br>%{{y:.4g}} at %{{x:.3g}}%{{customdata}}<extra></extra>",
        **at,
    )
    name = AT_END if one.at_end else CHOSEN
    ring = {"symbol": "square-open" if one.at_end else "circle-open", "size": 18, "color": TRUE, "line": {"width": 2}}
    figure.add_scatter(
        x=[one.rates[one.chosen]],
        y=[one.values[one.chosen]],
        mode="markers",
        marker=ring,
        name=name,
        legendgroup=name,
        showlegend=name not in names_of(figure),
        hoverinfo="skip",
        legendrank=LAST,
        **at,
    )
