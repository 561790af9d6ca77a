"""``pack_run``: one run as bytes for the player, sent once; decoded by app/components/decode.js.

Layout: uint32 little-endian length of a JSON header, the header, zeros up to a multiple of 8, then arrays, each at a
multiple of 8 from there. Entropy is uint16: 0 to 65534 stand for [0, 1], 65535 for undefined. Gates are uint8: 0 to 255
stand for [0, 1], and only a gate of 0 is 0. Arrays that a run has nothing for are left out.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from analysis import metrics
from analysis.run_config import config_at
from analysis.runs import Run
from flexlora.errors import FlexLoRAError
from flexlora.matrix_names import module_type_order

VERSION = 1
UNDEFINED = 65535
MAX_BYTES = 4 << 20
MAX_CURVE = 20_000
"""Points of b(t) that are sent at most, events aside."""
MAX_PLANNED = 1_000_000
"""Steps of the longest run whose plan is drawn: a forged number must not fill the memory."""

_DTYPES = {"uint8": "u8", "uint16": "u16", "uint32": "u32", "int32": "i32", "float32": "f32"}


def pack_run(run: Run, max_bytes: int = MAX_BYTES) -> bytes:
    """Return the player's bytes.

    Args:
        run: what to show.
        max_bytes: records between events are thinned out until the spectra fit; the header then says how many are left.
    """
    records = _records(run, max_bytes)
    arrays = _arrays(run, records)
    header = _header(run, len(records))
    offset, parts = 0, []
    header["arrays"] = []
    for name, array in arrays.items():
        header["arrays"].append(
            {
                "name": name,
                "dtype": _DTYPES[array.dtype.name],
                "offset": offset,
                "length": array.size,
                "shape": array.shape,
            }
        )
        data = array.tobytes()
        parts.append(data + bytes(-len(data) % 8))
        offset += len(parts[-1])
    text = json.dumps(header, allow_nan=False, default=_plain).encode()
    start = struct.pack("<I", len(text)) + text
    return b"".join([start, bytes(-len(start) % 8), *parts])


def planned_budget(run: Run) -> dict[str, list[int]] | None:
    """Return b(t) of the run's steps: as recorded, then as the schedule in force plans it.

    A run of more than ``MAX_CURVE`` steps has an even selection of them, and every event.

    None when the method has no budget of moves, the header's configuration is not one that this version can evaluate,
    or the run is absurdly long.
    """
    if run.total_steps > MAX_PLANNED:
        return None
    try:
        budget = _budget_in_force(run)
        if budget is None:
            return None
        steps = _curve_steps(run)
        planned = {step: budget(step) for step in steps}
    except (FlexLoRAError, TypeError, KeyError):
        return None
    scalars = run.log.steps
    recorded = zip(scalars["step"].tolist(), scalars["budget"].tolist(), strict=True)
    planned |= {step: int(budget) for step, budget in recorded if step in planned and np.isfinite(budget)}
    return {"steps": steps, "values": list(planned.values())}


def _budget_in_force(run: Run) -> Callable[[int], int] | None:
    """Return b of the configuration at the end of the log; None for a method whose moves have no such schedule."""
    return getattr(config_at(run), "budget", None)


def _curve_steps(run: Run) -> list[int]:
    total = run.total_steps
    if total <= MAX_CURVE:
        return list(range(1, total + 1))
    events = [event["step"] for event in run.events if 1 <= event["step"] <= total]
    return sorted({*np.linspace(1, total, MAX_CURVE).astype(int).tolist(), *events})


def _records(run: Run, max_bytes: int) -> np.ndarray:
    """Return the indices of the records to send: all, or every event with its neighbours and an even selection."""
    count, matrices = run.ranks.shape
    if not count:
        return np.empty(0, np.int64)
    with_true = float(np.mean(run.log.true_index >= 0))
    gate_bytes = 0 if run.log.gates is None else 1
    cost = matrices * 12 + (4 * (1 + with_true) + gate_bytes) * int(run.stored.sum(axis=1).max())
    room = max(2, int(max_bytes / cost))
    if count <= room:
        return np.arange(count)
    at_events = np.searchsorted(run.steps, [event["step"] for event in run.events])
    needed = np.unique(np.clip(np.concatenate([at_events - 1, at_events, at_events + 1, [0, count - 1]]), 0, count - 1))
    spread = np.linspace(0, count - 1, max(2, room - len(needed))).astype(np.int64)
    return np.unique(np.concatenate([needed, spread]))


def _arrays(run: Run, records: np.ndarray) -> dict[str, np.ndarray]:
    log, matrices = run.log, len(run.matrices)
    bounds = [(int(log.offsets[r * matrices]), int(log.offsets[(r + 1) * matrices])) for r in records]
    sigma_parts, sigma_index, sigma_length = [], [], 0
    for record, (start, stop) in zip(records.tolist(), bounds, strict=True):
        place = int(log.true_index[record])
        sigma_index.append(sigma_length if place >= 0 else -1)
        if place >= 0:
            sigma_parts.append(log.true_values[place : place + stop - start])
            sigma_length += stop - start
    ranks = run.ranks[records]
    entropy = run.entropy[records]
    coded = np.where(np.isnan(entropy), UNDEFINED, np.round(np.nan_to_num(entropy) * (UNDEFINED - 1)))
    arrays = {
        "steps": run.steps[records].astype(np.int32),
        "ranks": ranks.astype(np.uint8 if ranks.max(initial=0) < 256 else np.uint16),
        "entropy": coded.astype(np.uint16),
        "energy": _float32(run.energy[records]),
        "lam": _joined([log.values[start:stop] for start, stop in bounds]),
        "lamOffsets": np.concatenate([[0], np.cumsum(run.stored[records].ravel())]).astype(np.uint32),
        "sigma": _joined(sigma_parts),
        "sigmaIndex": np.array(sigma_index, np.int32),
    }
    if log.gates is not None:
        arrays["gates"] = coded_gates(_joined([log.gates[start:stop] for start, stop in bounds]))
    return arrays | _scalar_arrays(log.steps)


def _scalar_arrays(scalars: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    arrays = {
        "lossSteps": scalars["step"].astype(np.int32),
        "taskLoss": _float32(scalars["task_loss"]),
        "regularizer": _float32(scalars["regularizer"]),
        "budgetAt": _float32(scalars["budget"]),
    }
    for name, key in (("penalty", "penalty"), ("targetRank", "target_rank")):
        if np.isfinite(scalars[key]).any():
            arrays[name] = _float32(scalars[key])
    return arrays


def coded_gates(gates: np.ndarray) -> np.ndarray:
    """Return gates in [0, 1] as uint8; one above 0 stays above 0, as it tells on from off."""
    return np.where(gates > 0, np.clip(np.round(gates * 255), 1, 255), 0).astype(np.uint8)


def _header(run: Run, shown: int) -> dict[str, Any]:
    types = {matrix.module_type for matrix in run.matrices}
    layers = sorted({matrix.layer for matrix in run.matrices if matrix.layer is not None})
    notices = list(run.notices)
    if shown < len(run.steps):
        notices.append(f"{shown} of {len(run.steps)} spectrum records are drawn; every event is among them.")
    gap = metrics.spectrum_gap(run)
    park = metrics.instructive_event(run)
    last = int(run.steps[-1]) if len(run.steps) else 0
    return {
        "version": VERSION,
        "run": {
            "name": run.header.get("name"),
            "state": run.state,
            "method": run.header.get("method"),
            "task": run.header.get("task"),
            "preset": run.header.get("preset"),
            "total_steps": run.total_steps,
            "scale": run.scale,
            "notices": notices,
            "gap": float(gap[-1]) if len(gap) and np.isfinite(gap[-1]) else None,
            "gapLimit": metrics.GAP_LIMIT,
        },
        "matrices": [
            {
                "name": m.name,
                "layer": m.layer,
                "type": m.module_type,
                "inFeatures": m.in_features,
                "outFeatures": m.out_features,
            }
            for m in run.matrices
        ],
        "layers": layers,
        "types": list(module_type_order(types)),
        "events": [_event(event) for event in run.events],
        "evals": run.evals,
        "notes": run.notes,
        "end": run.end,
        "sentences": {str(event["step"]): metrics.describe_event(run, event["step"]) for event in run.events},
        "park": last if park is None else park,
        "budget": planned_budget(run),
    }


def _event(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return an event with the importance that decided, not all that were logged nor each direction's score."""
    own = {key: value for key, value in event.items() if key != "scores"}
    return {**own, "importance": {event["measure"]: event["importance"].get(event["measure"], {})}}


def _float32(array: np.ndarray) -> np.ndarray:
    # A run that diverges leaves float32's range: inf says so.
    with np.errstate(over="ignore"):
        return array.astype(np.float32)


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts).astype(np.float32) if parts else np.empty(0, np.float32)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no place in a payload")
