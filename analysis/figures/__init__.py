"""Plotly figures as pure functions of runs, for panels, notebooks and reports."""

from __future__ import annotations

from collections.abc import Callable

import plotly.graph_objects as go

from analysis.figures.adapters import ADAPTER_FIGURES
from analysis.figures.spectra import spectra_over_time
from analysis.figures.totals import total_rank
from analysis.figures.what_if import WHAT_IF_FIGURES

FIGURES: dict[str, Callable[..., go.Figure]] = {
    "spectra_over_time": spectra_over_time,
    "total_rank": total_rank,
    **ADAPTER_FIGURES,
    **WHAT_IF_FIGURES,
}
"""Figure name → f(run, or label → run, or analysed adapter, ...) → Plotly figure."""
