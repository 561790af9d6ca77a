"""Plotly figures as pure functions of a run, for panels, notebooks and reports."""

from __future__ import annotations

from collections.abc import Callable

import plotly.graph_objects as go

from analysis.figures.spectra import spectra_over_time

FIGURES: dict[str, Callable[..., go.Figure]] = {"spectra_over_time": spectra_over_time}
"""Figure name → f(run, ...) → Plotly figure."""
