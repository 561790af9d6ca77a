"""Runs that die or whose disk fails at a chosen moment, and what two logs must have in common."""

from __future__ import annotations

import errno
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np

from flexlora.run_log import RunLog
from flexlora.run_log.format import HEARTBEAT, STEP_FIELDS

TIMED = ("samples_per_s", "step_s", "memory_bytes")
"""Columns that tell of time and machine, not of training."""
DEATHS = ("dies before", "dies within", "dies after")
FAILURES = ("ENOSPC", "EIO", "torn")
FAULTS = (*DEATHS, *FAILURES, "short")


class Died(BaseException):
    """What a killed process does: nothing after this is done, and nobody may catch it."""


class Fate:
    """Takes the place of ``disk.perform`` and lets one operation fail, or the process die there.

    Args:
        at: number of the operation, from 1; None = nothing happens.
        fault: one of ``FAULTS``. ``torn``: half is written, then the disk is full; ``short``: half is taken, which a
            disk may do.

    Attributes:
        count: operations so far.
        dead: True once the process has died: whatever is tried afterwards raises.
        struck: what failed, as (kind, file name); None so far.
    """

    def __init__(self, at: int | None = None, fault: str = "dies before") -> None:
        self.at, self.fault = at, fault
        self.count = 0
        self.dead = False
        self.struck: tuple[str, str] | None = None
        self._lock = threading.RLock()

    def perform(self, kind: str, path: Path, act: Any, *given: Any) -> Any:
        with self._lock:
            self._live()
            self.count += 1
            if kind == "sync":
                # What matters is whether it fails; waiting for the disk a thousand times shows nothing more.
                act = _nothing
            if self.count != self.at:
                return act(*given)
            self.struck = kind, path.name
            return self._strike(kind, act, given)

    def tick(self, act: Any) -> Any:
        """Wrap a function that does nothing to the disk: before and after it, too, one may die."""

        def wrapped(*given: Any, **more: Any) -> Any:
            self.perform("tick", Path("tick"), lambda: None)
            result = act(*given, **more)
            self.perform("tick", Path("tick"), lambda: None)
            return result

        return wrapped

    def _strike(self, kind: str, act: Any, given: tuple[Any, ...]) -> Any:
        fault = self.fault
        if fault == "short":
            return self._half(act, given[0]) if kind == "write" and not isinstance(given[0], Path) else act(*given)
        if fault in ("dies within", "torn") and kind == "write":
            self._half(act, given[0])
        if fault == "dies after":
            result = act(*given)
            if kind == "open":
                result.close()
        self.dead = fault in DEATHS
        self._live()
        if kind == "tick":
            return None
        raise OSError(errno.EIO if fault == "EIO" else errno.ENOSPC, "the disk fails")

    def _half(self, act: Any, given: Any) -> Any:
        if isinstance(given, Path):
            act(given)
            given.write_bytes(given.read_bytes()[: given.stat().st_size // 2])
            return None
        return act(given[: max(1, len(given) // 2)])

    def _live(self) -> None:
        if not self.dead:
            return
        if threading.current_thread() is not threading.main_thread():
            # The thread of the log ends as its process does, without a trace on the screen.
            raise OSError(errno.EIO, "dead")
        raise Died


def _nothing(*given: Any) -> None:
    pass


def bury(folder: Path) -> None:
    """Let the heartbeat name a process that is gone, as it does after a death."""
    path = folder / HEARTBEAT
    if path.exists():
        path.write_text(json.dumps({**json.loads(path.read_text()), "started": "long ago"}))


def differences(whole: RunLog, other: RunLog) -> list[str]:
    """Return what two logs of one job do not have in common, a line each; times are left out."""
    found = []

    def compare(what: str, left: Any, right: Any) -> None:
        same = left == right
        if isinstance(left, np.ndarray):
            same = np.array_equal(left, right, equal_nan=left.dtype.kind == "f")
        if not same:
            found.append(f"{what} differs: {_first(left, right)}")

    for name in ("step", *(name for name in STEP_FIELDS if name not in TIMED)):
        compare(name, whole.steps[name], other.steps[name])
    for name in ("spectra_steps", "stored", "ranks", "values", "gates"):
        compare(name, getattr(whole, name), getattr(other, name))
    for name in ("matrices", "method", "seed"):
        compare(name, whole.header.get(name), other.header.get(name))
    compare("events", whole.events, other.events)
    compare("evals", *([_without(e, "wall_s") for e in log.evals] for log in (whole, other)))
    compare("edits", *([n for n in log.notes if n["kind"] == "edited"] for log in (whole, other)))
    compare("end", *(_without(log.end or {}, "wall_s", "peak_memory_bytes") for log in (whole, other)))
    compare("adapter", *(_files(log.folder / "adapter") for log in (whole, other)))
    if not found:
        found += _true_spectra(whole, other)
    return [*found, *other.notices]


def _true_spectra(whole: RunLog, other: RunLog) -> list[str]:
    """Compare the true singular values that both have: which records between events have them is a matter of time."""
    sizes = whole.stored.sum(axis=1)
    events = {event["step"] for event in whole.events}
    found = []
    for step, size, left, right in zip(whole.spectra_steps, sizes, whole.true_index, other.true_index, strict=True):
        both = left >= 0 and right >= 0
        same = both and np.array_equal(whole.true_values[left : left + size], other.true_values[right : right + size])
        if not same and (both or step in events):
            found.append(f"true singular values of step {step} differ")
    return found


def _without(record: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in keys}


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.is_dir() else {}


def _first(left: Any, right: Any) -> str:
    if hasattr(left, "__len__") and hasattr(right, "__len__") and len(left) != len(right):
        return f"{len(left)} against {len(right)}"
    if isinstance(left, list):
        return next(f"{a} against {b}"[:400] for a, b in zip(left, right, strict=True) if a != b)
    return "" if isinstance(left, np.ndarray | dict) else f"{left} against {right}"[:400]
