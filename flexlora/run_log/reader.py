"""``read_run``: open a run folder, finished, live, cut or damaged, and say what is missing."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from flexlora.run_log.encode import ArrowEncoder
from flexlora.run_log.format import (
    HEADER,
    HEARTBEAT,
    LINES,
    OPTIONAL,
    SCALARS,
    SCHEMAS,
    SPECTRA,
    STALE_S,
    STEP_FIELDS,
    Chunk,
    RunLogError,
    read_header,
)
from flexlora.run_log.pieces import survey

THREADED_BYTES = 8 << 20
ENDINGS = {"completed": "finished", "stopped": "stopped", "failed": "failed"}


@dataclass(frozen=True)
class RunLog:
    """Everything a run folder holds, as flat arrays.

    Attributes:
        folder: where it was read from.
        header: the content of ``run.json``.
        steps: name → (n,) array of the scalar records; ``step`` is int64, the rest float64 with NaN for undefined.
        spectra_steps: step of each spectrum record, (T,) int64.
        ranks: (T, M) int64: directions whose gate is above 0.
        stored: (T, M) int64: directions that have a λ; the same as ``ranks`` where there are no gates.
        values: λ of all records and matrices, flat float32.
        offsets: (T · M + 1,) int64; matrix m of record t is ``values[offsets[t * M + m] : offsets[t * M + m + 1]]``.
        true_values: true singular values of the records that have them, flat float32, same layout record by record.
        true_index: (T,) int64, where the record's true values begin in ``true_values``; −1 = none.
        gates: flat float32, one a value, 1.0 where a record has none; None when no record has any.
        events: reallocation records in order; ``importance`` is measure → matrix name → value or None.
        evals: evaluation records in order.
        notes: what happened: paused, resumed, edited, ...
        end: the end record, or None.
        state: ``running``, ``finished``, ``stopped``, ``failed`` or ``crashed``.
        notices: one line for each thing that is missing or odd.
    """

    folder: Path
    header: dict[str, Any]
    steps: dict[str, np.ndarray]
    spectra_steps: np.ndarray
    ranks: np.ndarray
    stored: np.ndarray
    values: np.ndarray
    offsets: np.ndarray
    true_values: np.ndarray
    true_index: np.ndarray
    gates: np.ndarray | None
    events: list[dict[str, Any]]
    evals: list[dict[str, Any]]
    notes: list[dict[str, Any]]
    end: dict[str, Any] | None
    state: str
    notices: list[str]


def read_run(folder: str | Path) -> RunLog:
    """Read a run folder up to its last intact record.

    Raises:
        RunLogError: the folder is no run, its header is damaged, or it is from a newer version. Damage elsewhere is
            left out and told in ``notices``.
    """
    folder = Path(folder)
    try:
        header, notices = read_header(folder)
        found, unsealed = _intact(folder, notices)
        limits = segment_limits(found)
        tables = {name: _table(name, found, limits, notices) for name in SCHEMAS}
        records = _records(found, limits, notices)
        names = [matrix["name"] for matrix in header["matrices"]]
        for event in records["event"]:
            scored = event["importance"].items()
            event["importance"] = {key: dict(zip(names, values, strict=True)) for key, values in scored}
        spectra = _spectra(tables[SPECTRA], len(header["matrices"]))
        scalars = _scalars(tables[SCALARS])
    except OSError as error:
        raise RunLogError(f"{folder} cannot be read: {error.strerror or error}.") from error
    except (pa.ArrowException, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        told = " ".join(str(error).split())
        raise RunLogError(f"{folder} does not hold the records its checksums promise: {told}") from error
    end = records["end"][-1] if records["end"] else None
    state = run_state(folder, end)
    if state != "running":
        notices.extend(unsealed)
    return RunLog(
        folder=folder,
        header=header,
        steps=scalars,
        **spectra,
        events=records["event"],
        evals=records["eval"],
        notes=records["note"],
        end=end,
        state=state,
        notices=notices,
    )


def find_runs(root: str | Path) -> list[Path]:
    """Return the run folders directly below ``root``, the most recently written first."""
    root = Path(root)
    if not root.is_dir():
        return []
    found = []
    for path in root.iterdir():
        # A folder may vanish or be another user's while we look.
        with contextlib.suppress(OSError):
            found.append(((path / HEADER).stat().st_mtime, path))
    return [path for _, path in sorted(found, reverse=True)]


def _intact(folder: Path, notices: list[str]) -> tuple[list[tuple[Chunk, memoryview]], list[str]]:
    """Return the intact chunks with their bytes, and a notice for each file with bytes that no line vouches for."""
    pieces = list(survey(folder))
    notices.extend(piece.fault for piece in pieces if piece.fault is not None)
    found = [(piece.chunk, piece.data) for piece in pieces if piece.chunk is not None and piece.data is not None]
    unsealed = []
    for name in (SCALARS, SPECTRA, LINES):
        sealed = max((p.chunk.offset + p.chunk.length for p in pieces if p.chunk and p.chunk.file == name), default=0)
        with contextlib.suppress(FileNotFoundError):
            size = (folder / name).stat().st_size
            if size > sealed:
                unsealed.append(
                    f"{name} ends in {size - sealed} bytes without a checksum, a flush cut short: left out."
                )
    return found, unsealed


def segment_limits(found: list[tuple[Chunk, memoryview]]) -> dict[int, float]:
    """Return segment → last step that counts: a later start went on from there and made the rest anew.

    Args:
        found: intact chunks with their bytes; those of ``LINES`` and the schemas of the others are needed.
    """
    starts = {
        chunk.segment: chunk.first_step for chunk, _ in found if chunk.kind == "schema" and chunk.first_step is not None
    }
    for chunk, data in found:
        if chunk.kind == "lines" and chunk.segment and chunk.segment not in starts:
            resumed = [
                note["resumed_from"] for note in map(json.loads, bytes(data).splitlines()) if "resumed_from" in note
            ]
            starts.update({chunk.segment: resumed[0]} if resumed else {})
    segments = sorted({chunk.segment for chunk, _ in found})
    return {
        segment: min((start for later, start in starts.items() if later > segment), default=float("inf"))
        for segment in segments
    }


def _table(
    name: str, found: list[tuple[Chunk, memoryview]], limits: Mapping[int, float], notices: list[str]
) -> pa.Table:
    schemas, batches = {}, defaultdict(list)
    for chunk, data in found:
        if chunk.file == name and chunk.kind == "schema":
            schemas[chunk.segment] = data
        elif chunk.file == name and chunk.kind == "batch":
            batches[chunk.segment].append(data)
    tables = []
    for segment, parts in sorted(batches.items()):
        schema = schemas.get(segment) or ArrowEncoder(SCHEMAS[name]).schema_bytes
        data = b"".join([schema, *parts])
        # Threads cost more than they save on the many small batches of a short run.
        options = pa.ipc.IpcReadOptions(use_threads=len(data) > THREADED_BYTES)
        table = pa.ipc.open_stream(pa.py_buffer(data), options=options).read_all()
        for field in SCHEMAS[name]:
            if field.name in OPTIONAL and field.name not in table.column_names:
                table = table.append_column(field, pa.nulls(table.num_rows, field.type))
        missing = [field.name for field in SCHEMAS[name] if field.name not in table.column_names]
        if missing:
            notices.append(f"{name} has no column {', '.join(missing)}; its records are left out.")
            continue
        steps = table["step"].to_numpy()
        kept = table.select(SCHEMAS[name].names).cast(SCHEMAS[name])
        kept.validate(full=True)
        tables.append(kept if (steps <= limits[segment]).all() else kept.filter(pa.array(steps <= limits[segment])))
    return pa.concat_tables(tables) if tables else SCHEMAS[name].empty_table()


def _records(
    found: list[tuple[Chunk, memoryview]], limits: Mapping[int, float], notices: list[str]
) -> dict[str, list[dict[str, Any]]]:
    records: dict[str, list[dict[str, Any]]] = {"event": [], "eval": [], "note": [], "end": []}
    for chunk, data in found:
        if chunk.file != LINES:
            continue
        for line in bytes(data).splitlines():
            record = json.loads(line)
            kind = record.pop("record")
            step = record.get("step")
            void = step is not None and step > limits[chunk.segment]
            superseded = kind == "end" and limits[chunk.segment] != float("inf")
            if kind not in records:
                notices.append(f"{LINES} holds a record of unknown kind {kind!r}; it is left out.")
            elif not void and not superseded:
                records[kind].append(record)
    return records


def _scalars(table: pa.Table) -> dict[str, np.ndarray]:
    columns = {name: table[name].to_numpy(zero_copy_only=False).astype(np.float64) for name in STEP_FIELDS}
    return {"step": table["step"].to_numpy().astype(np.int64), **columns}


def _spectra(table: pa.Table, matrices: int) -> dict[str, Any]:
    records = table.num_rows
    stored = _flat(table["ranks"]).astype(np.int64)
    if len(stored) != records * matrices:
        raise ValueError(f"{len(stored)} ranks for {records} records of {matrices} matrices")
    values = _flat(table["singular_values"])
    offsets = np.concatenate([[0], np.cumsum(stored)])
    if offsets[-1] != len(values):
        raise ValueError(f"{len(values)} singular values for a total rank of {offsets[-1]}")
    stored = stored.reshape(records, matrices)
    true_values, true_index = _beside(table, "true_singular_values", stored)
    gates = _gates(*_beside(table, "gates", stored), stored)
    ranks = stored
    if gates is not None:
        on = np.concatenate([[0], np.cumsum(gates > 0)])
        ranks = np.diff(on[offsets]).reshape(records, matrices)
    return {
        "spectra_steps": table["step"].to_numpy().astype(np.int64),
        "ranks": ranks,
        "stored": stored,
        "values": values,
        "offsets": offsets,
        "true_values": true_values,
        "true_index": true_index,
        "gates": gates,
    }


def _beside(table: pa.Table, column: str, stored: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the values of a column that has one a λ or is null, flat, and where each record's begin; −1 = null."""
    present = table[column].is_valid().to_numpy().astype(bool)
    lengths = np.where(present, stored.sum(axis=1), 0)
    starts = np.concatenate([[0], np.cumsum(lengths)])[:-1]
    values = _flat(table[column])
    if len(values) != lengths.sum():
        raise ValueError(f"{len(values)} {column.replace('_', ' ')} for a total rank of {lengths.sum()}")
    return values, np.where(present, starts, -1).astype(np.int64)


def _gates(values: np.ndarray, index: np.ndarray, stored: np.ndarray) -> np.ndarray | None:
    if not len(values):
        return None
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError("a gate is not a probability")
    gates = np.ones(int(stored.sum()), np.float32)
    gates[np.repeat(index >= 0, stored.sum(axis=1))] = values
    return gates


def _flat(column: pa.ChunkedArray) -> np.ndarray:
    # flatten() skips null lists, and follows each chunk's own offsets.
    parts = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    empty = np.empty(0, column.type.value_type.to_pandas_dtype())
    return np.concatenate([empty, *parts])


def run_state(folder: Path, end: Mapping[str, Any] | None) -> str:
    """Return ``running``, ``finished``, ``stopped``, ``failed`` or ``crashed``.

    Args:
        folder: a run folder; its heartbeat tells whether somebody still writes.
        end: the end record in force, None without one.
    """
    if end is not None:
        return ENDINGS.get(str(end.get("reason")), "stopped")
    try:
        beat = json.loads((folder / HEARTBEAT).read_text(encoding="utf-8"))
        fresh = abs(time.time() - float(beat["unix_s"])) < STALE_S
        return "running" if fresh and _process_lives(int(beat["pid"])) else "crashed"
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return "crashed"


def _process_lives(pid: int) -> bool:
    if os.name == "nt":
        # There os.kill ends the process; the heartbeat's age alone must do.
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
