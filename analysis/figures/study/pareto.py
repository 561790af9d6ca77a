"""What is reached against what it costs."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from analysis.figures.looks import by_place, error_bars, marker, place_panels, variant_numbers, variant_style, veil
from analysis.figures.theme import TRUE, capital, empty_figure, names_of, styled
from analysis.study import COSTS, Point
from analysis.study.pareto import STANDINGS

PANEL_PX, AROUND_PX = 300, 130
FAINT = 0.45
HALO = 22
LAST = 2000


def pareto(points: Sequence[Point]) -> go.Figure:
    """Draw the metric of each variant against its cost, with 95 % intervals of both means.

    A ring marks a variant on the front: it is told apart as better than every other that is not surely dearer, where
    there is such another. Faint is surely behind one that is not surely dearer.
    """
    groups = by_place(points)
    if not groups:
        return empty_figure("Against cost", "No run has both the metric and this cost.")
    cost = COSTS[points[0].cost]
    figure, alone = place_panels(list(groups), vertical_spacing=0.28 / len(groups))
    styled(figure, title=f"{capital(points[0].metric.replace('_', ' '))} against cost{alone}", x=cost.label, y="")
    for row, own in enumerate(groups.values(), 1):
        numbers = variant_numbers(point.method for point in own)
        for point, number in zip(own, numbers, strict=True):
            _add_point(figure, point, number, cost.unit, row)
        figure.update_yaxes(title=own[0].metric.replace("_", " "), row=row, col=1)
    height = AROUND_PX + PANEL_PX * len(groups)
    return figure.update_layout(height=height, legend={"y": -60 / height, "yanchor": "top", "itemsizing": "constant"})


def _add_point(figure: go.Figure, point: Point, number: int, unit: float, row: int) -> None:
    style, at = variant_style(point.method, number), {"row": row, "col": 1}
    colour = veil(style["color"], FAINT if point.standing == STANDINGS[2] else 1.0)
    x, ends = point.x / unit, [end / unit for end in point.x_ends]
    if point.standing == STANDINGS[0]:
        ring = {"symbol": "circle-open", "size": HALO, "color": TRUE, "line": {"width": 2}}
        grouped = {"name": STANDINGS[0], "legendgroup": STANDINGS[0], "hoverinfo": "skip", "legendrank": LAST}
        shown = STANDINGS[0] not in names_of(figure)
        figure.add_scatter(x=[x], y=[point.y], mode="markers", marker=ring, showlegend=shown, **grouped, **at)
    told = f"%{{y:.4g}} [{point.y_ends[0]:.4g}, {point.y_ends[1]:.4g}] at %{{x:.4g}} [{ends[0]:.4g}, {ends[1]:.4g}]"
    figure.add_scatter(
        x=[x],
        y=[point.y],
        error_x=error_bars([x], [ends], colour),
        error_y=error_bars([point.y], [point.y_ends], colour),
        mode="markers",
        marker=marker({**style, "color": colour}, 10),
        name=point.variant,
        legendgroup=point.variant,
        showlegend=point.variant not in names_of(figure),
        hovertemplate=f"{point.variant}, {point.n} runs: {point.standing}<br>{told}<extra></extra>",
        **at,
    )
