"""``pack_run``: one run as bytes for the player, sent once; decoded by app/player/model/decode.js.

What is always there: steps, ranks, entropy, energy, the entropy of true singular values, the score that decided at each
event, moves, scalars, and what is derived from all that. The values λ themselves are there when they fit; otherwise
the header says ``onDemand`` and ``pack_matrix`` brings those of one matrix. Before a record is left out, numbers are
sent in fewer bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from analysis import metrics
from analysis.dynamics import loss_window, trailing_mean
from analysis.entropy_scale import decided_quantity, entropy_range, entropy_shown
from analysis.glossary import introduction, words
from analysis.payload.codes import coded_entropy, coded_gates, coded_logarithm, float32
from analysis.payload.container import Rows, as_json, pack
from analysis.payload.derived import by_record, stay_arrays, told_once, whole_arrays
from analysis.payload.events import pack_events
from analysis.rank_limits import allowed_rank, change_limit
from analysis.run_config import allowed_moves, first_event
from analysis.runs import Run
from analysis.thinning import around, extremes, mean_of
from flexlora.importance import measure_label, measure_range
from flexlora.matrix_names import module_type_order

MAX_BYTES = 4_000_000
MAX_SCALARS = 4_000
"""Steps whose loss is sent at most, those around events aside."""
_DIRECTORY = 3_000
"""Bytes of the list of arrays, and of the padding between them."""
_SCALARS = {
    "taskLoss": "task_loss",
    "regularizer": "regularizer",
    "budgetAt": "budget",
    "penalty": "penalty",
    "targetRank": "target_rank",
}
_SPARE = ("penalty", "targetRank")
"""Sent only by runs that have them."""


class Layout(NamedTuple):
    """What of a run is sent, and how exactly.

    Attributes:
        records: places of the records that are sent.
        true: places, among all records that have true singular values, of those that are sent.
        scored: places in ``true`` of those whose entropy is sent for every matrix.
        spectra: every λ is in the payload, as is every record.
        energy: as float32, otherwise in 8 bits.
        scores: as float32, otherwise in 16 bits.
    """

    records: np.ndarray
    true: np.ndarray
    scored: np.ndarray
    spectra: bool
    energy: bool
    scores: bool


def pack_run(run: Run, max_bytes: int = MAX_BYTES) -> bytes:
    """Return the player's bytes.

    Args:
        run: what to show.
        max_bytes: size to keep to; only events and the records beside them can lead beyond it.
    """
    events = pack_events(run)
    known = run.log.spectra.digest
    # What the axes of each spectrum must hold over the whole run.
    peaks = {"peak": float32(known.peak), "truePeak": float32(known.true_peak)}
    fixed = {**events.arrays, **_scalar_arrays(run), **peaks, **whole_arrays(run)}
    if "planSteps" in fixed:
        del fixed["budgetAt"]
    header = {**_header(run), **events.header, **told_once(run)}
    told = {name: item.values if isinstance(item, Rows) else item for name, item in header.items()}
    sizes = sum((item.values if isinstance(item, Rows) else item).nbytes for item in fixed.values())
    room = max_bytes - len(as_json(told)) - sizes - _DIRECTORY
    layout = choose_layout(run, events.scores, room)
    arrays = _arrays(run, layout, header)
    if events.scores is not None:
        arrays["scores"] = _scores(events.scores, layout, header)
    header["onDemand"] = not layout.spectra
    header["points"] = {
        "records": [len(layout.records), len(run.steps)],
        "scalars": [len(fixed["lossSteps"].values), len(run.log.steps["step"])],
    }
    header["run"]["notices"] += [
        f"{shown} of {total} {what} are drawn; every event is among them."
        for what, (shown, total) in zip(("spectrum records", "steps' losses"), header["points"].values(), strict=True)
        if shown < total
    ]
    if layout.spectra:
        fixed |= stay_arrays(run)
    return pack(header, {**arrays, **fixed})


def choose_layout(run: Run, events: np.ndarray | None, room: int) -> Layout:
    """Return the most exact layout whose arrays fit into ``room`` bytes; the header and the scalars are not counted."""
    known = run.log.spectra.digest
    count, matrices = run.ranks.shape
    every, true = np.arange(count), np.arange(int(known.has_true.sum()))
    scores = 0 if events is None else events.size
    per_record = 4 + 2 * matrices + (4 if known.gated else 0)
    counts = [run.ranks, *by_record(run, every).values(), *([run.stored] if known.gated else [])]
    ranks = sum(_counts_cost(own) for own in counts)
    true_cost = 4 + 2 * matrices
    base = count * per_record + ranks
    cells = count * matrices
    values = int(run.stored.sum()) * (5 if known.gated else 4) + 4 * int(run.stored[known.has_true].sum())
    values += 4 * cells * known.partial + sum(array.nbytes for array in stay_arrays(run).values())
    for spectra, energy, exact in (
        (True, True, True),
        (False, True, True),
        (False, False, True),
        (False, False, False),
    ):
        cost = (
            base
            + len(true) * true_cost
            + values * spectra
            + cells * (4 if energy else 1)
            + scores * (4 if exact else 2)
        )
        if cost <= room:
            return Layout(every, true, true, spectra, energy, exact)
    left = room - base - cells - scores * 2 - len(true) * 8
    if left >= 0:
        some = np.unique(np.linspace(0, len(true) - 1, left // true_cost).astype(np.int64))
        return Layout(every, true, some, False, False, False)
    # Now records must go. Those around events stay, so the ranks cost the same.
    left = room - scores * 2 - ranks
    widest = max(1, int(run.stored.max(initial=1)))
    most = max(2, min(left // (per_record + matrices + true_cost), room // (5 * widest)))
    at_events = around(run.steps, [event["step"] for event in run.events]) if count else every
    kept = extremes([mean_of(run.entropy)], at_events, most) if count else every
    true = np.flatnonzero(np.isin(np.flatnonzero(known.has_true), kept))
    return Layout(kept, true, np.arange(len(true)), False, False, False)


def _arrays(run: Run, layout: Layout, header: dict[str, Any]) -> dict[str, Rows]:
    """Return the arrays that depend on the layout, and note in the header how they are to be read."""
    known, records = run.log.spectra.digest, layout.records
    sent = np.searchsorted(records, np.flatnonzero(known.has_true)[layout.true])
    arrays = {
        "steps": Rows("record", run.steps[records].astype(np.int32)),
        **_counts("ranks", run.ranks[records]),
        **{key: part for name, own in by_record(run, records).items() for key, part in _counts(name, own).items()},
        "entropy": Rows("record", coded_entropy(run.entropy[records])),
        "trueRecords": Rows("true", sent.astype(np.int32)),
        "trueEntropy": Rows("scored", coded_entropy(known.true_entropy[layout.true[layout.scored]])),
    }
    if len(layout.scored) < len(layout.true):
        arrays["trueScored"] = Rows("scored", layout.scored.astype(np.int32))
    energy = float32(run.energy[records])
    if not layout.energy:
        energy, header["energyScale"] = coded_logarithm(run.energy[records], np.uint8)
    arrays["energy"] = Rows("record", energy)
    header["gates"] = None
    if known.gated:
        arrays |= _counts("stored", run.stored[records])
        arrays["used"] = Rows("record", float32(run.expected_ranks[records].sum(axis=1)))
        header["gates"] = {"off": bool((run.stored != run.ranks).any()), "partial": known.partial}
    if layout.spectra:
        whole = run.log.spectra.whole
        arrays |= {"lam": Rows("value", float32(whole.values)), "sigma": Rows("true value", float32(whole.true_values))}
        if whole.gates is not None:
            arrays["gates"] = Rows("value", coded_gates(whole.gates))
        if known.partial:
            arrays["usedOf"] = Rows("record", float32(run.expected_ranks))
    return arrays


def _scores(found: np.ndarray, layout: Layout, header: dict[str, Any]) -> Rows:
    if layout.scores or (found < 0).any():
        return Rows("event", float32(found))
    codes, header["scoresScale"] = coded_logarithm(found, np.uint16)
    return Rows("event", codes)


def _counts(name: str, counts: np.ndarray) -> dict[str, Rows]:
    """Return whole numbers (n, M) as they are, or as the places that differ from the row before; the first from 0."""
    own = counts.astype(np.uint8 if counts.max(initial=0) < 256 else np.uint16)
    changed = _changed(counts)
    if _counts_cost(counts) == own.nbytes:
        return {name: Rows("record", own)}
    by = f"change of {name}"
    return {f"{name}At": Rows(by, changed.astype(np.uint32)), f"{name}To": Rows(by, own.ravel()[changed])}


def _changed(counts: np.ndarray) -> np.ndarray:
    return np.flatnonzero(np.diff(counts, axis=0, prepend=0))


def _counts_cost(counts: np.ndarray) -> int:
    size = 1 if counts.max(initial=0) < 256 else 2
    return min(counts.size * size, len(_changed(counts)) * (4 + size))


def _scalar_arrays(run: Run) -> dict[str, Rows]:
    scalars: Mapping[str, np.ndarray] = run.log.steps
    steps = scalars["step"]
    series = {name: scalars[key] for name, key in _SCALARS.items()}
    kept = np.arange(len(steps))
    if len(steps) > MAX_SCALARS:
        drawn = [values for values in series.values() if np.isfinite(values).any()] or [steps.astype(np.float64)]
        kept = extremes(drawn, around(steps, [event["step"] for event in run.events]), MAX_SCALARS)
    arrays = {"lossSteps": Rows("loss", steps[kept].astype(np.int32))}
    arrays["taskLossMean"] = Rows("loss", float32(trailing_mean(scalars["task_loss"], loss_window(run))[kept]))
    for name, values in series.items():
        if name not in _SPARE or np.isfinite(values).any():
            arrays[name] = Rows("loss", float32(values[kept]))
    return arrays


def _header(run: Run) -> dict[str, Any]:
    types = {matrix.module_type for matrix in run.matrices}
    gap = metrics.spectrum_gap(run)
    return {
        "run": {
            "name": run.header.get("name"),
            "state": run.state,
            "told": metrics.told_state(run.state, run.notes),
            "method": run.header.get("method"),
            "task": run.header.get("task"),
            "preset": run.header.get("preset"),
            "total_steps": run.total_steps,
            "scale": run.scale,
            "ranksOnly": run.header.get("singular_values") == "unknown",
            "notices": list(run.notices),
            "gap": float(gap[-1]) if len(gap) and np.isfinite(gap[-1]) else None,
            "gapLimit": metrics.GAP_LIMIT,
            "entropyShown": entropy_shown(run),
            "entropyDecides": decided_quantity(run),
            "entropyRange": {key: entropy_range(run, key) for key in ("entropy", "true_entropy")},
            "allowedRank": allowed_rank(run),
            "allowedMoves": allowed_moves(run),
            "firstEvent": first_event(run),
            "changeLimit": change_limit(run),
        },
        "matrices": {
            "name": [m.name for m in run.matrices],
            "layer": [m.layer for m in run.matrices],
            "type": [m.module_type for m in run.matrices],
            "inFeatures": [m.in_features for m in run.matrices],
            "outFeatures": [m.out_features for m in run.matrices],
        },
        "measures": {
            key: {"label": measure_label(key), "range": measure_range(key)}
            for key in dict.fromkeys(event["measure"] for event in run.events)
        },
        "layers": sorted({matrix.layer for matrix in run.matrices if matrix.layer is not None}),
        "types": list(module_type_order(types)),
        "notes": Rows("note", run.notes),
        "end": run.end,
        "sentences": Rows("event", [_sentence(run, number) for number in range(len(run.events))]),
        "park": metrics.parked_step(run),
        "explained": {"introduction": introduction(run), "words": words()},
    }


def _sentence(run: Run, number: int) -> str:
    """Return what an event says without how many there are, which changes while the run goes on."""
    said = metrics.describe_event(run, run.events[number]["step"])
    return said.partition(", ")[2]
