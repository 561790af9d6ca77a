"""Plotly figures as pure functions of runs, for panels, notebooks and reports."""

from __future__ import annotations

from collections.abc import Callable

import plotly.graph_objects as go

from analysis.figures import curves, maps, spectra, stability
from analysis.figures.adapter_sizes import ADAPTER_SIZE_FIGURES
from analysis.figures.adapters import ADAPTER_FIGURES
from analysis.figures.costs import COST_FIGURES
from analysis.figures.study import STUDY_FIGURES
from analysis.figures.what_if import WHAT_IF_FIGURES

RUN_FIGURES: dict[str, Callable[..., go.Figure]] = {
    figure.__name__: figure
    for figure in (
        maps.rank_map,
        maps.strip,
        curves.rank_trajectories,
        curves.rank_share,
        spectra.spectrum,
        spectra.energy_shares,
        spectra.spectra_over_time,
        curves.loss,
        curves.moves,
        curves.net_gross,
        stability.order_stability,
        maps.event_stages,
        maps.events_grid,
        maps.compare_maps,
        curves.compare_curves,
        curves.total_rank,
    )
}
"""What can be drawn of logged runs alone: name → f(run, **options), f(run, other), or f(label → run)."""

FIGURES: dict[str, Callable[..., go.Figure]] = {
    **RUN_FIGURES,
    **ADAPTER_FIGURES,
    **ADAPTER_SIZE_FIGURES,
    **WHAT_IF_FIGURES,
    **STUDY_FIGURES,
    **COST_FIGURES,
}
"""Figure name → f(run, or label → run, or analysed adapter, what a study says, or measured cost) → Plotly figure."""
