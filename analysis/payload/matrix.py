"""``pack_matrix``: λ of one matrix in every record that is sent, for a run whose payload had no room for all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.payload.codes import coded_gates, float32
from analysis.payload.container import Rows, pack, read_arrays
from analysis.payload.derived import stay_arrays
from analysis.runs import Run
from flexlora.ragged import ragged_places


def pack_matrix(run: Run, matrix: str, payload: bytes, *, only: Sequence[int] | None = None) -> bytes:
    """Return the parcel of one matrix; RunSpectra in app/player/model/run_spectra.js opens it.

    Args:
        run: the run of the payload.
        matrix: name of a matrix.
        payload: what ``pack_run`` made of the run: the parcel holds the same records.
        only: steps to which these records are narrowed; None = all.

    Returns:
        A payload whose header names the ``matrix`` and says whether it is ``narrowed``, with the arrays ``steps``,
        ``counts`` (values a record), ``lam``, ``sigma`` (of those of the payload's ``trueRecords`` that are among
        these), ``energy``, those of ``stay_arrays`` and, in a run with gates, ``gates`` and ``used``.

    Raises:
        ValueError: the run has no matrix of this name.
        RunLogError: the log was changed since it was opened.
    """
    own, place = run.spectra_of(matrix), run.place_of(matrix)
    sent = read_arrays(payload)
    records = np.searchsorted(run.steps, sent["steps"])
    true_records = records[sent["trueRecords"]]
    if only is not None:
        records, true_records = (part[np.isin(run.steps[part], only)] for part in (records, true_records))
    counts, true_counts = np.diff(own.offsets), np.diff(own.true_offsets)
    with_true = np.flatnonzero(run.log.spectra.digest.has_true)
    true_rows = np.searchsorted(with_true, true_records)
    places = ragged_places(own.offsets[records], counts[records])
    true_places = ragged_places(own.true_offsets[true_rows], true_counts[true_rows])
    arrays = {
        "steps": Rows("record", run.steps[records].astype(np.int32)),
        "counts": Rows("record", counts[records].astype(np.uint16)),
        "lam": Rows("value", float32(own.values[places])),
        "sigma": Rows("true value", float32(own.true_values[true_places])),
        "energy": Rows("record", float32(run.energy[records, place])),
        **stay_arrays(run, place),
    }
    if run.log.spectra.digest.partial:
        arrays["used"] = Rows("record", float32(run.expected_ranks[records, place]))
    if own.gates is not None:
        arrays["gates"] = Rows("value", coded_gates(own.gates[places]))
    return pack({"matrix": matrix, "narrowed": only is not None}, arrays)
