"""What a training step costs, as ``benchmarks/cost.py`` measured it: records, words, tables.

Its pictures are in ``analysis.figures.costs``, which needs Plotly; nothing here does.
"""

from analysis.costs.page import written
from analysis.costs.read import (
    BASELINE,
    FLOOR,
    Contestant,
    Measurement,
    Ratio,
    against,
    find_measurements,
    read_measurement,
)
from analysis.costs.series import Series, find_series
from analysis.costs.tables import growth_table, resource_table, time_table
from analysis.costs.words import caption, headline, losses, measured, named, shape_line, title

__all__ = [
    "BASELINE",
    "FLOOR",
    "Contestant",
    "Measurement",
    "Ratio",
    "Series",
    "against",
    "caption",
    "find_measurements",
    "find_series",
    "growth_table",
    "headline",
    "losses",
    "measured",
    "named",
    "read_measurement",
    "resource_table",
    "shape_line",
    "time_table",
    "title",
    "written",
]
