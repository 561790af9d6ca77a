"""``run_since``: what a run has after a step, for a reader that tells no more than how far it has read."""

from __future__ import annotations

import numpy as np

from analysis.payload.container import increment, read_arrays, read_header, state_at
from analysis.payload.derived import by_record
from analysis.runs import Run


def run_since(run: Run, payload: bytes, step: int) -> bytes | None:
    """Return the records, losses, events, evaluations and notes after ``step``, and every whole item.

    ``payload`` is what ``pack_run`` made of the run; ``step`` is at most that of the last record.
    """
    arrays, (header, _) = read_arrays(payload), read_header(payload)
    records = int(np.searchsorted(arrays["steps"], step, "right"))
    true = int(np.searchsorted(arrays["trueRecords"], records))
    events = sum(event["step"] <= step for event in header["events"])
    moves = int(arrays["moveCounts"][: 2 * events].sum())
    widths = {name: own.shape[1] for name, own in by_record(run, np.zeros(0, np.int64)).items()}
    widths |= {"ranks": len(run.matrices), "stored": len(run.matrices)}
    counts = {
        "record": records,
        "true": true,
        "scored": int((arrays["trueScored"] < true).sum()) if "trueScored" in arrays else true,
        "loss": int(np.searchsorted(arrays["lossSteps"], step, "right")),
        "event": events,
        "move": moves,
        "extra": sum(place < moves for place, _ in header["moveExtras"]),
        "result": sum(at <= step for at, _ in header["results"]),
        "note": sum((note.get("step") or 0) <= step for note in header["notes"]),
        # With every λ in it, a payload has every record.
        "value": int(run.stored[:records].sum()),
        "true value": int(run.stored[:records][run.log.spectra.digest.has_true[:records]].sum()),
        **{
            f"change of {name}": int(np.searchsorted(arrays[f"{name}At"], records * columns))
            for name, columns in widths.items()
            if f"{name}At" in arrays
        },
    }
    return increment(payload, state_at(payload, {by: counts.get(by, 0) for by in header["counts"]}))
