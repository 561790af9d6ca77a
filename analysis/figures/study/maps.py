"""Where groups of runs end: mean and spread of ranks, and the difference of two groups."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from analysis.figures.cells import Grid, Panel, draw_maps, map_grid, number_text
from analysis.figures.scales import VIOLETS, difference_scale, even_scale, level_scale
from analysis.figures.theme import TRUE, empty_figure
from analysis.runs import Matrix
from analysis.statistics import CONFIDENCE
from analysis.study import GroupRanks, RankDifference

SHOWN = ("mean", "spread")
FRAME = "#111111"


def group_rank_maps(groups: Sequence[GroupRanks], show: str = "mean") -> go.Figure:
    """Draw the final rank of each matrix, a map a group: the mean over its seeds, or their standard deviation.

    ``show`` is ``mean`` or ``spread`` (ValueError otherwise). All maps have one scale; hatched is a matrix that a group
    does not have, and the spread of one run.
    """
    if show not in SHOWN:
        raise ValueError(f"unknown show {show!r}; choose one of {', '.join(SHOWN)}")
    title = f"Final rank, {'mean' if show == 'mean' else 'standard deviation'} over seeds"
    if not groups:
        return empty_figure(title, "No group has ranks.")
    matrices = _all_matrices([group.matrices for group in groups])
    panels = []
    for group in groups:
        mean, spread = (_placed(matrices, group.matrices, values) for values in (group.mean, group.spread))
        values = mean if show == "mean" else spread
        told = [
            "not adapted" if np.isnan(one) else f"rank {one:.2f} ± {other:.2f} over {len(group.ranks)} seeds"
            for one, other in zip(mean.tolist(), spread.tolist(), strict=True)
        ]
        texts = [number_text(value, ".1f") for value in values.tolist()]
        panels.append(Panel(values, texts, told, group.label if len(groups) > 1 else ""))
    every = [panel.values for panel in panels]
    scale = level_scale(every) if show == "mean" else even_scale(VIOLETS, every)
    figure = draw_maps(title, matrices, panels, [(scale, "mean rank" if show == "mean" else "standard deviation")])
    return figure if len(panels) > 1 else _titled(figure, groups[0].label)


def group_difference_map(difference: RankDifference) -> go.Figure:
    """Draw how much more rank each matrix has in the end in one group than in another, paired by seed.

    A frame: its 95 % interval excludes 0, as one matrix in twenty would by chance; a double frame: also told apart with
    all matrices in view (Holm).
    """
    found = difference
    texts = [number_text(value, "+.1f") for value in found.mean.tolist()]
    told = [
        f"{mean:+.2f} [{low:+.2f}, {high:+.2f}], p {p:.3g} after Holm over {len(found.matrices)} matrices"
        for mean, low, high, p in zip(found.mean, found.low, found.high, found.adjusted_p, strict=True)
    ]
    grid = map_grid(found.matrices)
    scale = difference_scale([found.mean])
    panel = Panel(found.mean, texts, told)
    title = f"Final rank of {found.label} − {found.other}"
    figure = draw_maps(title, found.matrices, [panel], [(scale, "difference")], grid=grid)
    for place in np.flatnonzero(found.apart).tolist():
        _frame(figure, grid, found.matrices[place], 0.45)
        if found.claimed[place]:
            _frame(figure, grid, found.matrices[place], 0.37)
    chance = (1 - CONFIDENCE) * len(found.matrices)
    return _titled(
        figure,
        f"mean of {found.pairs} pairs; framed: the interval excludes 0, in {int(found.apart.sum())} of "
        f"{len(found.matrices)} ({chance:.0f} by chance); twice: after Holm, {int(found.claimed.sum())}",
    )


def _frame(figure: go.Figure, grid: Grid, matrix: Matrix, half: float) -> None:
    row, column = grid.place[matrix.name]
    ends = {"x0": column - half, "x1": column + half, "y0": row - half, "y1": row + half}
    figure.add_shape(type="rect", **ends, line={"color": FRAME, "width": 1.5})


def _titled(figure: go.Figure, below: str) -> go.Figure:
    return figure.update_layout(title={"subtitle": {"text": below, "font": {"size": 12, "color": TRUE}}})


def _all_matrices(lists: Sequence[Sequence[Matrix]]) -> list[Matrix]:
    return list({matrix.name: matrix for own in lists for matrix in own}.values())


def _placed(matrices: Sequence[Matrix], own: Sequence[Matrix], values: np.ndarray) -> np.ndarray:
    known = dict(zip((matrix.name for matrix in own), values.tolist(), strict=True))
    return np.array([known.get(matrix.name, np.nan) for matrix in matrices])
