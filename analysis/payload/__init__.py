"""A run as bytes for the player: ``pack_run`` for every view at once, ``pack_matrix`` for one spectrum on demand."""

from analysis.payload.budget import MAX_CURVE, MAX_PLANNED, planned_budget
from analysis.payload.codes import UNDEFINED, coded_gates
from analysis.payload.container import VERSION
from analysis.payload.matrix import needs_parcels, pack_matrix
from analysis.payload.run import MAX_BYTES, pack_run

__all__ = [
    "MAX_BYTES",
    "MAX_CURVE",
    "MAX_PLANNED",
    "UNDEFINED",
    "VERSION",
    "coded_gates",
    "needs_parcels",
    "pack_matrix",
    "pack_run",
    "planned_budget",
]
