"""``read_run``: open a run folder, finished, live, cut or damaged, and say what is missing."""

from __future__ import annotations

import contextlib
import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from flexlora.brief import Brief
from flexlora.run_log import disk
from flexlora.run_log.cache import load_digest, source_of, store_digest
from flexlora.run_log.format import (
    HEADER,
    LINES,
    SCALARS,
    SCHEMAS,
    SPECTRA,
    STEP_FIELDS,
    Chunk,
    RunLogError,
    read_header,
    reading,
)
from flexlora.run_log.pieces import faults, survey
from flexlora.run_log.records import check_record, read_line
from flexlora.run_log.spectra import Segment, Spectra, StoredSpectra, read_chunk
from flexlora.run_log.tables import block_of, leading_schema, missing_columns, table_of
from flexlora.run_log.writing_process import read_process

RESIDENT_BYTES = 8 << 20
"""Compressed spectra up to this size are kept in memory; of larger ones a few records at a time are."""

ENDINGS = {"completed": "finished", "stopped": "stopped", "failed": "failed"}


Found: TypeAlias = tuple[Chunk, memoryview | None]


@dataclass(frozen=True, repr=False)
class RunLog(Brief):
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
        spectra: what these arrays come from; a large run keeps them on disk, so ask it for one record or one matrix.
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
    spectra: Spectra
    events: list[dict[str, Any]]
    evals: list[dict[str, Any]]
    notes: list[dict[str, Any]]
    end: dict[str, Any] | None
    state: str
    notices: list[str]

    spectra_steps = property(lambda self: self.spectra.digest.steps)
    ranks = property(lambda self: self.spectra.digest.ranks)
    stored = property(lambda self: self.spectra.digest.stored)
    values = property(lambda self: self.spectra.whole.values)
    offsets = property(lambda self: self.spectra.whole.offsets)
    true_values = property(lambda self: self.spectra.whole.true_values)
    true_index = property(lambda self: self.spectra.true_index)
    gates = property(lambda self: self.spectra.whole.gates)


def read_run(folder: str | Path) -> RunLog:
    """Read a run folder up to its last intact record.

    Raises:
        RunLogError: the folder is no run, its header is damaged, or it is from a newer version. Damage elsewhere is
            left out and told in ``notices``.
    """
    folder = Path(folder)
    with reading(folder):
        header, notices = read_header(folder)
        found, unsealed = _intact(folder, notices)
        limits = segment_limits(found)
        scalars = _scalars(_table(SCALARS, found, limits, notices))
        records = _records(found, limits, notices)
        names = [matrix["name"] for matrix in header["matrices"]]
        for event in records["event"]:
            scored = event["importance"].items()
            event["importance"] = {key: dict(zip(names, values, strict=True)) for key, values in scored}
        known = frozenset(names)
        for kind, found_records in records.items():
            for record in found_records:
                check_record(kind, record, known)
        end = records["end"][-1] if records["end"] else None
        state = run_state(folder, end)
        spectra = _spectra(folder, found, limits, len(header["matrices"]), notices, settled=state != "running")
        starts = [chunk.first_step for chunk, _ in found if chunk.kind == "schema" and chunk.first_step]
        notices.extend(_holes(SCALARS, scalars["step"], starts))
        notices.extend(_holes(SPECTRA, spectra.digest.steps, starts))
    if state != "running":
        notices.extend(unsealed)
    return RunLog(
        folder=folder,
        header=header,
        steps=scalars,
        spectra=spectra,
        events=records["event"],
        evals=records["eval"],
        notes=records["note"],
        end=end,
        state=state,
        notices=notices,
    )


def keep_digest(folder: Path) -> None:
    """Make the cache of a large run that has ended, which its first reader would otherwise wait for."""
    # A log that cannot be read, or a folder that cannot be written, is the reader's to tell.
    with contextlib.suppress(RunLogError, OSError):
        if disk.size(folder / SPECTRA) > RESIDENT_BYTES:
            read_run(folder)


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


def _intact(folder: Path, notices: list[str]) -> tuple[list[Found], list[str]]:
    """Return the intact chunks with their bytes, and a notice for each file with bytes that no line vouches for.

    The bytes of spectra that are too many to keep are only checked: None.
    """
    keep = {SCALARS, LINES}
    if disk.size(folder / SPECTRA) <= RESIDENT_BYTES:
        keep.add(SPECTRA)
    pieces = list(survey(folder, keep))
    notices.extend(faults(pieces))
    found = [(piece.chunk, piece.data) for piece in pieces if piece.chunk is not None and piece.intact]
    unsealed = []
    for name in (SCALARS, SPECTRA, LINES):
        sealed = max((p.chunk.offset + p.chunk.length for p in pieces if p.chunk and p.chunk.file == name), default=0)
        size = disk.size(folder / name)
        if size > sealed:
            unsealed.append(f"{name} ends in {size - sealed} bytes without a checksum, a flush cut short: left out.")
    return found, unsealed


def _holes(name: str, steps: np.ndarray, starts: Sequence[int]) -> Iterator[str]:
    """Yield a notice for each start that went on from a step whose records are not all there."""
    apart, counts = np.unique(np.diff(steps), return_counts=True)
    usual = apart[counts.argmax()] if len(apart) else 1
    for start in sorted(set(starts)):
        last = int(steps[steps <= start].max(initial=0))
        if start - last >= max(usual, 1) and (steps > start).any():
            yield f"{name} has a hole: records of steps {last + 1} to {start} are missing."


def segment_limits(found: Sequence[Found]) -> dict[int, float]:
    """Return segment → last step that counts: a later start went on from there and made the rest anew.

    Args:
        found: intact chunks with their bytes; those of ``LINES`` and the schemas of the others are needed.
    """
    starts = {
        chunk.segment: chunk.first_step for chunk, _ in found if chunk.kind == "schema" and chunk.first_step is not None
    }
    for chunk, data in found:
        if chunk.kind == "lines" and chunk.segment and chunk.segment not in starts and data is not None:
            resumed = [
                note["resumed_from"] for note in map(json.loads, bytes(data).splitlines()) if "resumed_from" in note
            ]
            starts.update({chunk.segment: resumed[0]} if resumed else {})
    segments = sorted({chunk.segment for chunk, _ in found})
    return {
        segment: min((start for later, start in starts.items() if later > segment), default=float("inf"))
        for segment in segments
    }


def _table(name: str, found: list[Found], limits: Mapping[int, float], notices: list[str]) -> pa.Table:
    held = {chunk: data for chunk, data in found if data is not None}
    tables = [
        table_of(name, segment.schema, [held[chunk] for chunk in segment.chunks], limits[segment.number])
        for segment in _segments(name, found, notices, held.get)
    ]
    return pa.concat_tables(tables) if tables else SCHEMAS[name].empty_table()


def _segments(
    name: str, found: list[Found], notices: list[str], content: Callable[[Chunk], bytes | memoryview | None]
) -> list[Segment]:
    """Return the starts of a run that left records in a file, those whose columns are all there."""
    schemas, batches = {}, defaultdict(list)
    for chunk, data in found:
        if chunk.file == name and chunk.kind == "schema":
            schemas[chunk.segment] = data
        elif chunk.file == name and chunk.kind == "batch":
            batches[chunk.segment].append(chunk)
    segments = []
    for number, chunks in sorted(batches.items()):
        schema = schemas.get(number) or leading_schema(content(chunks[0]))
        missing = missing_columns(name, schema)
        if missing:
            notices.append(f"{name} has no column {', '.join(missing)}; its records are left out.")
        else:
            segments.append(Segment(number, schema, chunks))
    return segments


def _spectra(
    folder: Path, found: list[Found], limits: Mapping[int, float], matrices: int, notices: list[str], *, settled: bool
) -> Spectra:
    """Return the spectra: in memory, or on disk where they are many; a run that nobody writes any more gets a cache."""
    chunks = [chunk for chunk, _ in found if chunk.file == SPECTRA]
    if all(data is not None for chunk, data in found if chunk.file == SPECTRA and chunk.kind == "batch"):
        return Spectra(block_of(_table(SPECTRA, found, limits, notices), matrices), matrices)
    path = folder / SPECTRA
    segments = _segments(SPECTRA, found, notices, lambda chunk: read_chunk(path, chunk))
    source = source_of(chunks, limits, matrices)
    known = load_digest(folder, source)
    if known is not None:
        return StoredSpectra(path, segments, limits, matrices, known)
    spectra = StoredSpectra.read_through(path, segments, limits, matrices)
    if settled:
        store_digest(folder, source, spectra.digest)
    return spectra


def lines_in_force(
    found: Sequence[Found],
    limits: Mapping[int, float],
    read: Callable[[bytes], dict[str, Any]] = read_line,
    always: Collection[str] = (),
) -> Iterator[dict[str, Any]]:
    """Yield the records of the intact lines that no later start made void, as ``read`` gives them.

    Notes of a kind in ``always`` are in force whatever came later.
    """
    for chunk, data in found:
        limit = limits[chunk.segment]
        for record in map(read, bytes(data).splitlines() if chunk.file == LINES and data is not None else ()):
            step = record.get("step")
            superseded = record["record"] == "end" and limit != float("inf")
            if not superseded and (step is None or step <= limit or record.get("kind") in always):
                yield record


def _records(found: list[Found], limits: Mapping[int, float], notices: list[str]) -> dict[str, list[dict[str, Any]]]:
    records: dict[str, list[dict[str, Any]]] = {"event": [], "eval": [], "note": [], "end": []}
    for record in lines_in_force(found, limits):
        kind = record.pop("record")
        if kind in records:
            records[kind].append(record)
        else:
            notices.append(f"{LINES} holds a record of unknown kind {kind!r}; it is left out.")
    return records


def _scalars(table: pa.Table) -> dict[str, np.ndarray]:
    columns = {name: table[name].to_numpy(zero_copy_only=False).astype(np.float64) for name in STEP_FIELDS}
    return {"step": table["step"].to_numpy().astype(np.int64), **columns}


def run_state(folder: Path, end: Mapping[str, Any] | None) -> str:
    """Return ``running``, ``finished``, ``stopped``, ``failed`` or ``crashed``.

    Args:
        folder: a run folder; its heartbeat tells whether somebody still writes.
        end: the end record in force, None without one.
    """
    if end is not None:
        return ENDINGS.get(str(end.get("reason")), "stopped")
    process = read_process(folder)
    return "running" if process is not None and process.may_write(folder) else "crashed"
