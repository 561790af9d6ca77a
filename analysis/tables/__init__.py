"""The numbers behind each view, as tidy Arrow tables for CSV and Parquet. Undefined is null."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from analysis.tables.columns import write_csv_bytes, write_parquet_bytes
from analysis.tables.curves import (
    compare_curves,
    curves,
    loss,
    moves,
    net_gross,
    order_stability,
    rank_share,
    rank_trajectories,
)
from analysis.tables.maps import compare_maps, event_stages, events_grid, everything, layer_means, rank_map, strip
from analysis.tables.spectra import energy_shares, spectra_over_time, spectrum
from analysis.tables.views import VIEWS, Moment
from analysis.tables.why import why

__all__ = ["TABLES", "VIEWS", "Moment", "write_csv_bytes", "write_parquet_bytes"]

TABLES: dict[str, Callable[..., pa.Table]] = {
    "rank_map": rank_map,
    "strip": strip,
    "layer_means": layer_means,
    "rank_trajectories": rank_trajectories,
    "rank_share": rank_share,
    "spectrum": spectrum,
    "energy_shares": energy_shares,
    "spectra_over_time": spectra_over_time,
    "loss": loss,
    "moves": moves,
    "net_gross": net_gross,
    "order_stability": order_stability,
    "event_stages": event_stages,
    "events_grid": events_grid,
    "compare_maps": compare_maps,
    "compare_curves": compare_curves,
    "curves": curves,
    "why": why,
    "everything": everything,
}
"""View → f(run, or label → run, **options) → table; the options are those of the figure of the same name."""
