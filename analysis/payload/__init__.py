"""A run as bytes for the player: ``pack_run`` for every view, ``pack_matrix`` for one spectrum; what of it is new."""

from analysis.budget import MAX_CURVE, MAX_PLANNED, budget_curve, planned_budget
from analysis.payload.codes import UNDEFINED, coded_gates
from analysis.payload.container import VERSION, increment
from analysis.payload.matrix import pack_matrix
from analysis.payload.run import MAX_BYTES, pack_run
from analysis.payload.since import run_since
from analysis.payload.spectra import pack_spectra
