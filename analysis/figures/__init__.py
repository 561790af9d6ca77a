"""Plotly figures as pure functions of runs, for panels, notebooks and reports."""

from __future__ import annotations

from collections.abc import Callable

import plotly.graph_objects as go

from analysis.figures.adapters import ADAPTER_FIGURES
from analysis.figures.curves import (
    compare_curves,
    loss,
    moves,
    net_gross,
    rank_share,
    rank_trajectories,
    total_rank,
)
from analysis.figures.maps import compare_maps, event_stages, events_grid, rank_map, strip
from analysis.figures.spectra import energy_shares, spectra_over_time, spectrum
from analysis.figures.what_if import WHAT_IF_FIGURES

RUN_FIGURES: dict[str, Callable[..., go.Figure]] = {
    "rank_map": rank_map,
    "strip": strip,
    "rank_trajectories": rank_trajectories,
    "rank_share": rank_share,
    "spectrum": spectrum,
    "energy_shares": energy_shares,
    "spectra_over_time": spectra_over_time,
    "loss": loss,
    "moves": moves,
    "net_gross": net_gross,
    "event_stages": event_stages,
    "events_grid": events_grid,
    "compare_maps": compare_maps,
    "compare_curves": compare_curves,
    "total_rank": total_rank,
}
"""What can be drawn of logged runs alone: name → f(run, **options), f(run, other), or f(label → run)."""

FIGURES: dict[str, Callable[..., go.Figure]] = {**RUN_FIGURES, **ADAPTER_FIGURES, **WHAT_IF_FIGURES}
"""Figure name → f(run, or label → run, or analysed adapter, ...) → Plotly figure."""
