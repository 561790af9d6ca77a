"""``pack_spectra``: λ of all matrices at one record, for a run whose payload had no room for those of every record."""

from __future__ import annotations

import numpy as np

from analysis.directions import slots_at
from analysis.payload.codes import coded_gates, float32
from analysis.payload.container import pack
from analysis.quantities import record_of
from analysis.runs import Run


def pack_spectra(run: Run, step: int) -> bytes:
    """Return the latest record at or before a step, else the first; RunSpectra in run_spectra.js opens it.

    Returns:
        A payload whose header has the ``step`` of the record, with the arrays ``lam`` (matrix by matrix), ``slots``
        (−1 = not logged) and, in a run with gates, ``gates``.

    Raises:
        ValueError: the run has no record.
        RunLogError: the log was changed since it was opened.
    """
    if not len(run.steps):
        raise ValueError("The run has no record yet.")
    record = record_of(run, step)
    found = run.log.spectra.record(record)
    arrays = {"lam": float32(found.values), "slots": slots_at(run, record).astype(np.int32)}
    if found.all_gates is not None:
        arrays["gates"] = coded_gates(found.all_gates)
    return pack({"step": int(run.steps[record])}, arrays)
