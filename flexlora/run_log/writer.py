"""``RunWriter``: append records, flush them within a second, never lose what was flushed."""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

from flexlora.run_log.format import (
    CHECKSUMS,
    HEADER,
    HEARTBEAT,
    LINES,
    SCALAR_SCHEMA,
    SCALARS,
    SCHEMA_VERSION,
    SCHEMAS,
    SPECTRA,
    SPECTRUM_SCHEMA,
    ArrowEncoder,
    Chunk,
    RunLogError,
    checksum,
    read_header,
    write_header,
)

HEARTBEAT_INTERVAL_S = 2.0


class RunWriter:
    """Writes one run folder. Thread-safe; a daemon thread flushes and keeps the heartbeat.

    Args:
        folder: made if needed; must not hold a run unless ``resume_from`` is given.
        header: at least ``matrices`` (name, layer, module_type, in_features, out_features); ``schema``,
            ``created_unix_s`` and ``name`` are filled in.
        resume_from: go on with the run in ``folder`` from this step: later records of earlier starts are void;
            −1 = all of them.
        fsync: also ask the disk to keep each flush (survives power loss; costs milliseconds a flush).
        flush_interval_s: records wait at most this long.

    Raises:
        RunLogError: the folder holds a run already, is no run to resume, or cannot be written.
    """

    def __init__(
        self,
        folder: str | Path,
        header: Mapping[str, Any],
        *,
        resume_from: int | None = None,
        fsync: bool = False,
        flush_interval_s: float = 1.0,
    ) -> None:
        self.folder = Path(folder)
        self._fsync = fsync
        self._interval = flush_interval_s
        self._lock = threading.RLock()
        self._closed = threading.Event()
        self._failure: RunLogError | None = None
        self._scalars: list[tuple[Any, ...]] = []
        self._spectra: list[tuple[int, np.ndarray, np.ndarray, np.ndarray | None]] = []
        self._lines: list[tuple[int | None, bytes]] = []
        self._waiting_since: float | None = None
        self._last = {SCALARS: -1, SPECTRA: -1}
        self._safe_step = resume_from or 0
        self._segment = 0
        self._guarded(lambda: self._open(header, resume_from))
        if resume_from is not None:
            self.note("resumed_from", resumed_from=resume_from)
            self.flush()
        self._thread = threading.Thread(target=self._keep_alive, name="run log", daemon=True)
        self._thread.start()

    def step(
        self,
        step: int,
        task_loss: float | None = None,
        regularizer: float | None = None,
        loss: float | None = None,
        learning_rate: float | None = None,
        budget: int | None = None,
        samples_per_s: float | None = None,
        step_s: float | None = None,
        memory_bytes: int | None = None,
    ) -> None:
        """Record the scalars of one optimizer step; ``regularizer`` is unweighted, ``loss`` the weighted sum."""
        values = (task_loss, regularizer, loss, learning_rate, budget, samples_per_s, step_s, memory_bytes)
        with self._lock:
            self._advance(SCALARS, step)
            self._scalars.append((int(step), *map(_finite, values)))
            self._mark()

    def spectrum(
        self, step: int, singular_values: Sequence[ArrayLike], true_singular_values: Sequence[ArrayLike] | None = None
    ) -> None:
        """Record λ of every matrix, in the header's order: after the optimizer step, before the event.

        Args:
            step: finished optimizer steps.
            singular_values: one array (r,) a matrix, signed as trained.
            true_singular_values: one array (r,) a matrix, of ΔW; None when not computed at this step.
        """
        own = [np.asarray(values, np.float32).reshape(-1) for values in singular_values]
        if len(own) != len(self._matrices):
            raise ValueError(f"spectrum of step {step} has {len(own)} matrices, the header {len(self._matrices)}")
        ranks = np.array([len(values) for values in own], np.uint16)
        true = None
        if true_singular_values is not None:
            true = np.concatenate([np.asarray(values, np.float32).reshape(-1) for values in true_singular_values])
            if len(true) != ranks.sum():
                raise ValueError(f"step {step}: {len(true)} true singular values for a total rank of {ranks.sum()}")
        with self._lock:
            self._advance(SPECTRA, step)
            self._spectra.append((int(step), ranks, np.concatenate(own), true))
            self._mark()

    def event(
        self,
        step: int,
        budget: int,
        importance: Mapping[str, Mapping[str, float | None]],
        measure: str,
        prune: Sequence[Mapping[str, Any]] = (),
        extend: Sequence[Mapping[str, Any]] = (),
        refused: Mapping[str, str] | None = None,
        rules: Sequence[str] = (),
        **extra: Any,
    ) -> None:
        """Record one reallocation and flush: what it saw, what it moved, which rules acted.

        ``importance`` is measure → matrix name → value; on disk each measure is one list in the header's order.
        """
        record = {
            "step": int(step),
            "budget": int(budget),
            "measure": measure,
            "importance": {key: [found.get(name) for name in self._matrices] for key, found in importance.items()},
            "prune": list(prune),
            "extend": list(extend),
            "refused": dict(refused or {}),
            "rules": list(rules),
            **extra,
        }
        self._line("event", record)
        self.flush()

    def eval(
        self,
        step: int,
        split: str,
        metrics: Mapping[str, float],
        samples: int | None = None,
        wall_s: float | None = None,
    ) -> None:
        """Record an evaluation on ``samples`` examples of a split."""
        record = {"step": int(step), "split": split, "metrics": dict(metrics), "samples": samples, "wall_s": wall_s}
        self._line("eval", record)

    def note(self, kind: str, step: int | None = None, **fields: Any) -> None:
        """Record something that happened: paused, resumed, edited, ..."""
        self._line("note", {"kind": kind, "step": step, **fields})

    def end(self, reason: str, message: str | None = None, **fields: Any) -> None:
        """Record why the run ended (completed, stopped or failed), flush and close."""
        self._line("end", {"reason": reason, "message": message, **fields})
        self.close()

    def flush(self) -> None:
        """Write everything that is buffered.

        Raises:
            RunLogError: the disk is full or the folder is gone; what was flushed before stays readable.
        """
        with self._lock:
            if self._failure is not None:
                raise self._failure
            self._guarded(self._write_buffers)

    def close(self) -> None:
        """Flush and release the files; a second call does nothing."""
        with self._lock:
            if self._closed.is_set():
                return
            try:
                self.flush()
            finally:
                self._closed.set()
                for handle in self._files.values():
                    handle.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except RunLogError:
            if error is None:
                raise

    def _open(self, header: Mapping[str, Any], resume_from: int | None) -> None:
        if resume_from is None:
            if (self.folder / HEADER).exists():
                raise RunLogError(f"{self.folder} holds a run already. Choose another --out, or pass --resume.")
            self.folder.mkdir(parents=True, exist_ok=True)
            filled = {"schema": SCHEMA_VERSION, "name": self.folder.name, "created_unix_s": time.time(), **header}
            write_header(self.folder, _plain(filled))
            self._matrices = [str(matrix["name"]) for matrix in filled["matrices"]]
        else:
            existing, _ = read_header(self.folder)
            self._matrices = [str(matrix["name"]) for matrix in existing["matrices"]]
            self._segment = _rewind(self.folder)
        self._files = {
            name: (self.folder / name).open("ab", buffering=0) for name in (SCALARS, SPECTRA, LINES, CHECKSUMS)
        }
        self._encoders = {name: ArrowEncoder(schema) for name, schema in SCHEMAS.items()}
        self._beat()
        for name, encoder in self._encoders.items():
            self._append(name, "schema", encoder.schema_bytes, resume_from, None)

    def _advance(self, file: str, step: int) -> None:
        if self._closed.is_set():
            raise ValueError(f"the log of {self.folder} is closed")
        if self._failure is not None:
            raise self._failure
        if step <= self._last[file]:
            raise ValueError(f"step {step} after step {self._last[file]}: records must go forward")
        self._last[file] = int(step)

    def _line(self, record: str, fields: Mapping[str, Any]) -> None:
        line = json.dumps(_plain({"record": record, **fields}), allow_nan=False, ensure_ascii=False).encode() + b"\n"
        with self._lock:
            if self._closed.is_set():
                raise ValueError(f"the log of {self.folder} is closed")
            self._lines.append((fields.get("step"), line))
            self._mark()

    def _mark(self) -> None:
        if self._waiting_since is None:
            self._waiting_since = time.monotonic()

    def _write_buffers(self) -> None:
        if self._closed.is_set():
            return
        # Spectra and scalars first: a reader that finds an event then finds what it saw.
        if self._scalars:
            columns = [
                pa.array(c, field.type)
                for c, field in zip(zip(*self._scalars, strict=True), SCALAR_SCHEMA, strict=True)
            ]
            batch = pa.RecordBatch.from_arrays(columns, schema=SCALAR_SCHEMA)
            self._append(SCALARS, "batch", self._encoders[SCALARS].encode(batch), *_range(self._scalars))
        if self._spectra:
            data = self._encoders[SPECTRA].encode(_spectrum_batch(self._spectra))
            self._append(SPECTRA, "batch", data, *_range(self._spectra))
        if self._lines:
            steps = [step for step, _ in self._lines if step is not None]
            data = b"".join(line for _, line in self._lines)
            self._append(LINES, "lines", data, min(steps, default=None), max(steps, default=None))
        self._safe_step = max(self._safe_step, self._last[SCALARS], self._last[SPECTRA])
        self._scalars, self._spectra, self._lines = [], [], []
        self._waiting_since = None

    def _append(self, file: str, kind: str, data: bytes, first: int | None, last: int | None) -> None:
        handle = self._files[file]
        offset = handle.seek(0, os.SEEK_END)
        _write_all(handle, data)
        chunk = Chunk(file, self._segment, kind, offset, len(data), checksum(data), first, last)
        if self._fsync:
            os.fsync(handle.fileno())
        _write_all(self._files[CHECKSUMS], chunk.line())
        if self._fsync:
            os.fsync(self._files[CHECKSUMS].fileno())

    def _guarded(self, action: Any) -> None:
        try:
            action()
        except OSError as error:
            self._failure = RunLogError(
                f"The log in {self.folder} cannot be written: {error.strerror or error}. "
                f"Everything up to step {self._safe_step} is safe and readable; free some space and resume."
            )
            raise self._failure from error

    def _keep_alive(self) -> None:
        last_beat = time.monotonic()
        while not self._closed.wait(min(0.1, self._interval / 2)):
            now = time.monotonic()
            try:
                # Half the interval, so that a record is on disk within it even when this thread is late.
                if self._waiting_since is not None and now - self._waiting_since >= self._interval / 2:
                    self.flush()
                if now - last_beat >= HEARTBEAT_INTERVAL_S:
                    self._beat()
                    last_beat = now
            except (RunLogError, OSError):
                # Kept in _failure: the next call of the training thread raises it there.
                if self._failure is not None:
                    return

    def _beat(self) -> None:
        temporary = self.folder / (HEARTBEAT + ".tmp")
        temporary.write_text(json.dumps({"pid": os.getpid(), "unix_s": time.time()}), encoding="utf-8")
        temporary.replace(self.folder / HEARTBEAT)


def _write_all(handle: Any, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[handle.write(view) :]


def _rewind(folder: Path) -> int:
    """Cut every file after its last intact chunk; return the number of the next segment."""
    from flexlora.run_log.reader import intact_chunks

    chunks = intact_chunks(folder)
    for name in (SCALARS, SPECTRA, LINES):
        ends = [chunk.offset + chunk.length for chunk in chunks if chunk.file == name]
        path = folder / name
        if path.exists():
            os.truncate(path, min(path.stat().st_size, max(ends, default=0)))
    temporary = folder / (CHECKSUMS + ".tmp")
    temporary.write_bytes(b"".join(chunk.line() for chunk in chunks))
    temporary.replace(folder / CHECKSUMS)
    return max((chunk.segment for chunk in chunks), default=-1) + 1


def _spectrum_batch(rows: Sequence[tuple[int, np.ndarray, np.ndarray, np.ndarray | None]]) -> pa.RecordBatch:
    steps, ranks, own, true = zip(*rows, strict=True)
    found = [values for values in true if values is not None]
    lengths = [0 if values is None else len(values) for values in true]
    true_column = pa.ListArray.from_arrays(
        _offsets(lengths),
        pa.array(np.concatenate(found) if found else np.empty(0, np.float32)),
        mask=pa.array([values is None for values in true]),
    )
    columns = [
        pa.array(steps, pa.int64()),
        pa.ListArray.from_arrays(_offsets([len(values) for values in ranks]), pa.array(np.concatenate(ranks))),
        pa.ListArray.from_arrays(_offsets([len(values) for values in own]), pa.array(np.concatenate(own))),
        true_column,
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SPECTRUM_SCHEMA)


def _offsets(lengths: Sequence[int]) -> pa.Array:
    return pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))


def _range(rows: Sequence[tuple[Any, ...]]) -> tuple[int, int]:
    return rows[0][0], rows[-1][0]


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _plain(value: Any) -> Any:
    """Return JSON values: numpy unpacked, tuples as lists, non-finite numbers as null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int | bool):
        return value
    return str(value)
