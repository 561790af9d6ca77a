"""``RunWriter``: append records, flush them within a second, never lose what was flushed."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from flexlora.run_log import disk
from flexlora.run_log.encode import (
    END_OF_STREAM,
    ArrowEncoder,
    ScalarRow,
    SpectrumRow,
    beside,
    finite,
    json_line,
    plain,
    scalar_batch,
    spectrum_batch,
)
from flexlora.run_log.files import LogFiles
from flexlora.run_log.format import LINES, SCALARS, SCHEMAS, SPECTRA, RunLogError
from flexlora.run_log.reader import keep_digest
from flexlora.run_log.records import check_record
from flexlora.run_log.writing_process import beat

HEARTBEAT_INTERVAL_S = 2.0
FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)

BATCHES: dict[str, Callable[[list[Any]], Any]] = {SCALARS: scalar_batch, SPECTRA: spectrum_batch}

Written = TypeVar("Written")


class RunWriter:
    """Writes one run folder, alone. Thread-safe; a daemon thread flushes and keeps the heartbeat.

    A second writer is refused while the process of the first lives. Where that cannot be told (another machine, no
    locks), the first one notices that the log is not as it left it, and stops.

    Args:
        folder: made if needed; must not hold a run unless ``resume_from`` is given.
        header: at least ``matrices`` (name, layer, module_type, in_features, out_features); ``schema``,
            ``created_unix_s`` and ``name`` are filled in.
        resume_from: go on with the run in ``folder`` from this step: later records of earlier starts are void;
            −1 = all of them.
        fsync: also ask the disk to keep each flush (survives power loss; costs milliseconds a flush).
        flush_interval_s: records wait at most this long.
        flush_events: an event does not wait.

    Raises:
        RunLogError: the folder holds a run already, is no run to resume, is written by somebody else, or cannot be
            written; or the header lacks what makes a log readable.
    """

    def __init__(
        self,
        folder: str | Path,
        header: Mapping[str, Any],
        *,
        resume_from: int | None = None,
        fsync: bool = False,
        flush_interval_s: float = 1.0,
        flush_events: bool = True,
    ) -> None:
        self.folder = Path(folder)
        self._interval, self._flush_events = flush_interval_s, flush_events
        self._lock = threading.RLock()
        self._closed = threading.Event()
        self._failure: RunLogError | None = None
        self._files = LogFiles(self.folder, fsync)
        self._scalars: list[ScalarRow] = []
        self._spectra: list[SpectrumRow] = []
        self._lines: list[tuple[int | None, bytes]] = []
        self._waiting_since: float | None = None
        start = -1 if resume_from is None else int(resume_from)
        self._last = {SCALARS: start, SPECTRA: start}
        self._safe_step = max(start, 0)
        self._thread = threading.Thread(target=self._keep_alive, name="run log", daemon=True)
        try:
            self._guarded(lambda: self._open(header, resume_from))
            if resume_from is not None:
                self.note("resumed_from", resumed_from=start)
                self.flush()
            self._thread.start()
        except BaseException:
            self._let_go()
            raise

    @property
    def closed(self) -> bool:
        """True once nothing can be recorded any more."""
        return self._closed.is_set()

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
        penalty: float | None = None,
        target_rank: float | None = None,
    ) -> None:
        """Record the scalars of one optimizer step.

        ``regularizer`` is unweighted, ``penalty`` a further term of the loss as weighted, ``loss`` the whole sum;
        ``budget`` counts moves of one event, ``target_rank`` is the total rank that the schedule asks for.
        """
        values = (task_loss, regularizer, loss, learning_rate, budget, samples_per_s, step_s, memory_bytes)
        values += (penalty, target_rank)
        with self._lock:
            self._advance(SCALARS, step)
            self._scalars.append((int(step), *map(finite, values)))
            self._mark()

    def spectrum(
        self,
        step: int,
        singular_values: Sequence[ArrayLike],
        true_singular_values: Sequence[ArrayLike] | None = None,
        gates: Sequence[ArrayLike] | None = None,
    ) -> None:
        """Record λ of every matrix, in the header's order: after the optimizer step, before the event.

        Args:
            step: finished optimizer steps.
            singular_values: one array (r,) a matrix, signed as trained.
            true_singular_values: one array (r,) a matrix, of ΔW; None when not computed at this step.
            gates: one array (r,) a matrix, in [0, 1]: 0 = the direction is off and may revive, otherwise the
                probability that a step uses it; None when all are simply on.
        """
        own = [np.asarray(values, np.float32).reshape(-1) for values in singular_values]
        if len(own) != len(self._matrices):
            raise ValueError(f"spectrum of step {step} has {len(own)} matrices, the header {len(self._matrices)}")
        counts = np.array([len(values) for values in own], np.uint16)
        true = beside(true_singular_values, counts, f"step {step}: as many true singular values")
        shares = beside(gates, counts, f"step {step}: as many gates")
        if shares is not None and not ((shares >= 0) & (shares <= 1)).all():
            raise ValueError(f"step {step}: a gate is a probability, 0 to 1")
        with self._lock:
            self._advance(SPECTRA, step)
            self._spectra.append((int(step), counts, np.concatenate(own), true, shares))
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
        """Record one reallocation and flush, if asked for: what it saw, what it moved, which rules acted.

        ``importance`` is measure → matrix name → value; on disk each measure is one list in the header's order.

        Raises:
            ValueError: a move without ``matrix`` or ``slot``, or another field that no reader could use.
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
        check_record("event", plain({**record, "importance": {}}), self._matrices)
        self._line("event", record)
        if self._flush_events:
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
        """Record why the run ended (completed, stopped or failed), flush, close, and leave a large run a cache."""
        self._line("end", {"reason": reason, "message": message, **fields})
        self.close()
        keep_digest(self.folder)

    def checkpoint(self, write: Callable[[], Written]) -> Written:
        """Let a checkpoint be written, and return what ``write`` does; the only way to make one beside a log.

        Everything is flushed first: what is recorded before a checkpoint is not made again by a run that goes on from
        it, so a checkpoint ahead of its log would leave a hole for ever.
        """
        self.flush()
        return write()

    def flush(self) -> None:
        """Write everything that is buffered.

        Raises:
            RunLogError: the disk is full, the folder is gone or somebody else writes there by now; what was flushed
                before stays readable.
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
                self._let_go()
        # Outside the lock, which the thread may be waiting for; afterwards nothing writes into the folder any more.
        if self._thread is not threading.current_thread():
            self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            self.close()
        except RunLogError:
            if error is None:
                raise

    def _let_go(self) -> None:
        self._closed.set()
        self._files.close()

    def _open(self, header: Mapping[str, Any], resume_from: int | None) -> None:
        kept = self._files.begin(header) if resume_from is None else self._files.go_on(header, resume_from)
        self._matrices = [matrix["name"] for matrix in kept["matrices"]]
        self._encoders = {name: ArrowEncoder(schema) for name, schema in SCHEMAS.items()}
        for name, encoder in self._encoders.items():
            if disk.size(self.folder / name):
                self._files.append(name, "close", END_OF_STREAM)
            self._files.append(name, "schema", encoder.schema_bytes, resume_from)

    def _advance(self, file: str, step: int) -> None:
        self._refuse_after_the_end()
        if step <= self._last[file]:
            raise ValueError(f"step {step} after step {self._last[file]}: records must go forward")
        self._last[file] = int(step)

    def _line(self, record: str, fields: Mapping[str, Any]) -> None:
        line = json_line(record, fields)
        step = fields.get("step")
        with self._lock:
            self._refuse_after_the_end()
            self._lines.append((None if step is None else int(step), line))
            self._mark()

    def _refuse_after_the_end(self) -> None:
        if self._closed.is_set():
            raise ValueError(f"the log of {self.folder} is closed")
        if self._failure is not None:
            raise self._failure

    def _mark(self) -> None:
        if self._waiting_since is None:
            self._waiting_since = time.monotonic()

    def _write_buffers(self) -> None:
        # A forked child holds a copy of the buffers, which are its parent's to write.
        if self._closed.is_set() or self._files.closed:
            return
        self._refuse_beside_other()
        # Spectra and scalars first: a reader that finds an event then finds what it saw.
        waiting: dict[str, list[Any]] = {SCALARS: self._scalars, SPECTRA: self._spectra}
        for name, rows in waiting.items():
            if rows:
                data = self._encoders[name].encode(BATCHES[name](rows))
                self._files.append(name, "batch", data, rows[0][0], rows[-1][0])
        if self._lines:
            steps = [step for step, _ in self._lines if step is not None]
            data = b"".join(line for _, line in self._lines)
            self._files.append(LINES, "lines", data, min(steps, default=None), max(steps, default=None))
        self._safe_step = max(self._safe_step, self._last[SCALARS], self._last[SPECTRA])
        self._scalars, self._spectra, self._lines = [], [], []
        self._waiting_since = None

    def _guarded(self, action: Any) -> None:
        try:
            action()
        except OSError as error:
            remedy = "free some space" if error.errno in FULL else "mend this"
            advice = f"Everything up to step {self._safe_step} is safe and readable; {remedy} and resume."
            if not self._files.begun:
                what = f"{self.folder.name} is a file. " if self.folder.is_file() else ""
                advice = f"{what}Choose another folder."
            elif not self.folder.is_dir():
                advice = "The folder was removed or moved while the run was trained."
            self._failure = RunLogError(
                f"The log in {self.folder} cannot be written: {error.strerror or error}. {advice}"
            )
            raise self._failure from error

    def _keep_alive(self) -> None:
        last_beat = time.monotonic()
        while not self._closed.wait(min(0.1, max(0.01, self._interval / 2))):
            now, waiting_since = time.monotonic(), self._waiting_since
            try:
                # Half the interval, so that a record is on disk within it even when this thread is late.
                if waiting_since is not None and now - waiting_since >= self._interval / 2:
                    self.flush()
                if now - last_beat >= HEARTBEAT_INTERVAL_S:
                    self._beat()
                    last_beat = now
            except (RunLogError, OSError):
                # Kept in _failure: the next call of the training thread raises it there.
                if self._failure is not None:
                    return

    def _beat(self) -> None:
        with self._lock:
            if not self._closed.is_set() and not self._files.closed:
                self._refuse_beside_other()
                beat(self.folder)

    def _refuse_beside_other(self) -> None:
        """Stop for good when another process has written since."""
        if not self._files.as_left():
            self._failure = RunLogError(
                f"{self.folder} is not as this process left it: another one goes on with the run. This one has stopped "
                f"writing; what it recorded up to step {self._safe_step} was kept or made anew by the other."
            )
            raise self._failure
