"""Who writes a run folder: the heartbeat names the process, so that no second one writes beside it."""

from __future__ import annotations

import json
import os
import socket
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from flexlora.run_log import disk
from flexlora.run_log.format import HEARTBEAT, STALE_S, RunLogError


@dataclass(frozen=True)
class WritingProcess:
    """The content of ``heartbeat.json``.

    Attributes:
        pid: process that writes.
        unix_s: when it said so.
        host: its machine; None = not told.
        started: what tells the process from a later one of the same number; None where the system does not say.
        folder: number of the folder on its disk: a copy of the folder has another.
        released: True once the process has closed the log.
    """

    pid: int
    unix_s: float
    host: str | None = None
    started: str | None = None
    folder: int | None = None
    released: bool = False

    def may_write(self, folder: Path) -> bool:
        """True while the process may write into ``folder``, however long it has been suspended.

        Where it cannot be told from another one, it counts as gone when its heartbeat is older than ``STALE_S``.
        """
        fresh = abs(time.time() - self.unix_s) < STALE_S
        if self.host not in (None, socket.gethostname()):
            return fresh
        if not _process_lives(self.pid):
            return False
        told = self.started is not None and not self.released and self.folder == folder.stat().st_ino
        return self.started == _process_start(self.pid) if told else fresh


def read_process(folder: Path) -> WritingProcess | None:
    """Return who wrote a run folder last, or None when its heartbeat is missing or no such thing."""
    try:
        found = json.loads((folder / HEARTBEAT).read_text(encoding="utf-8"))
        known = {key: found[key] for key in WritingProcess.__dataclass_fields__ if key in found}
        return WritingProcess(**{**known, "pid": int(found["pid"]), "unix_s": float(found["unix_s"])})
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def beat(folder: Path, *, released: bool = False) -> None:
    """Say that this process writes ``folder``, or that it has closed it."""
    pid = os.getpid()
    own = WritingProcess(pid, time.time(), socket.gethostname(), _process_start(pid), folder.stat().st_ino, released)
    disk.put_bytes(folder / HEARTBEAT, json.dumps(asdict(own)).encode())


def release(folder: Path) -> None:
    """Say that this process has closed ``folder``, unless another one writes there by now."""
    found, pid = read_process(folder), os.getpid()
    if found is None or found != replace(found, pid=pid, started=_process_start(pid)):
        return
    try:
        beat(folder, released=True)
    except OSError:
        disk.remove(folder / HEARTBEAT)


def refuse_beside_writer(folder: Path, handle: Any = None) -> None:
    """Refuse to write into a folder that another writer may write into.

    ``handle`` is a file in it, open, that every writer locks for as long as it writes; None = look at the heartbeat
    alone.

    Raises:
        RunLogError: somebody else writes.
    """
    process = read_process(folder)
    locked = handle is not None and disk.is_locked_elsewhere(handle)
    if not locked and (process is None or process.released or not process.may_write(folder)):
        return
    if process is not None and process.pid == os.getpid():
        raise RunLogError(f"{folder} is being written by this very process. Close that log first.")
    which = "" if process is None else f" ({process.pid} on {process.host or 'this machine'})"
    told = f"{folder} is being trained by another process{which}, running or suspended. Stop that one first."
    raise RunLogError(told)


def _process_lives(pid: int) -> bool:
    if os.name == "nt":
        # There os.kill ends the process; the heartbeat's age alone must do.
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    # Ended, and not yet waited for by its parent.
    return _process_stat(pid)[:1] not in (["Z"], ["X"])


def _process_start(pid: int) -> str | None:
    try:
        # Ticks since the machine started, and which of its starts that was.
        return f"{_process_stat(pid)[19]} {Path('/proc/sys/kernel/random/boot_id').read_text().strip()}"
    except (OSError, IndexError):
        return None


def _process_stat(pid: int) -> list[str]:
    """Return the fields of Linux's ``/proc/PID/stat`` from the state on; none on another system."""
    try:
        # The name of the program stands before them in brackets, and may hold anything.
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except (OSError, ValueError):
        return []
