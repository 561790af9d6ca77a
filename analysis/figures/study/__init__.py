"""Figures of studies and of groups of runs; the numbers come from ``analysis.study``."""

from __future__ import annotations

from collections.abc import Callable

import plotly.graph_objects as go

from analysis.figures.stability import group_stability
from analysis.figures.study.bands import group_bands
from analysis.figures.study.forest import forest
from analysis.figures.study.maps import group_difference_map, group_rank_maps
from analysis.figures.study.pareto import pareto
from analysis.figures.study.rates import learning_rates

STUDY_FIGURES: dict[str, Callable[..., go.Figure]] = {
    figure.__name__: figure
    for figure in (group_bands, forest, pareto, group_rank_maps, group_difference_map, learning_rates, group_stability)
}
