"""``LogFiles``: the open files of a run folder, this process's alone; every piece appended gets its checksum."""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flexlora.run_log import disk
from flexlora.run_log.encode import plain
from flexlora.run_log.format import (
    CHECKSUMS,
    HEADER,
    LINES,
    SCALARS,
    SCHEMA_VERSION,
    SPECTRA,
    Chunk,
    RunLogError,
    checksum,
    header_fault,
    read_header,
    write_header,
)
from flexlora.run_log.pieces import rewind
from flexlora.run_log.writing_process import beat, refuse_beside_writer, release

FILES = (SCALARS, SPECTRA, LINES, CHECKSUMS)


def holds_run(folder: Path) -> str | None:
    """Return the first file of a run, or of what is left of one, that lies in a folder; None = there is none."""
    # Empty files are what a start leaves that failed before it wrote its header.
    return next((name for name in (HEADER, *FILES) if disk.size(folder / name)), None)


class LogFiles:
    """Opened by ``begin``, ``go_on`` or ``join``; whatever fails raises OSError.

    Attributes:
        begun: True once there is a run in the folder.
        closed: True before the files are open and after; in a forked child too, whose parent writes.
    """

    def __init__(self, folder: Path, fsync: bool) -> None:
        self.folder = folder
        self.begun = False
        self.closed = True
        self._fsync = fsync
        self._segment = 0
        self._sealed = 0
        self._handles: dict[str, Any] = {}

    def begin(self, header: Mapping[str, Any]) -> dict[str, Any]:
        """Start a run; return its header, filled in.

        Raises:
            RunLogError: the folder holds a run already or is being written, or the header lacks what logs need.
        """
        self._refuse_beside_run()
        kept = plain({"schema": SCHEMA_VERSION, "name": self.folder.name, "created_unix_s": time.time(), **header})
        fault = header_fault(kept)
        if fault is not None:
            raise RunLogError(f"The header for {self.folder} {fault}. It needs matrices, each with a name of its own.")
        disk.make_folder(self.folder)
        self._claim()
        # Again: now nobody else can come in between.
        self._refuse_beside_run()
        write_header(self.folder, kept)
        self._open_all()
        if self._fsync and os.name != "nt":
            disk.sync_folder(self.folder)
        return kept

    def go_on(self, header: Mapping[str, Any], resume_from: int) -> dict[str, Any]:
        """Open the run in the folder to go on from a step; return its header.

        Raises:
            RunLogError: it is no run, one of other matrices, or is being written.
        """
        kept, _ = read_header(self.folder)
        self.begun = True
        asked = [str(matrix["name"]) for matrix in header.get("matrices", kept["matrices"])]
        if asked != [matrix["name"] for matrix in kept["matrices"]]:
            raise RunLogError(f"{self.folder} is a run of other matrices. Resume it with the job that began it.")
        self._claim()
        self._segment = rewind(self.folder, resume_from)
        self._open_all()
        return kept

    def join(self) -> None:
        """Open the run in the folder to add to its last start.

        Raises:
            RunLogError: it is no run, or is being written.
        """
        read_header(self.folder)
        self.begun = True
        self._claim()
        # No step is void.
        self._segment = max(0, rewind(self.folder, 1 << 62) - 1)
        self._open_all()

    def append(self, file: str, kind: str, data: bytes, first: int | None = None, last: int | None = None) -> None:
        """Append a piece to a file, then what vouches for it; see ``Chunk``."""
        handle, checksums = self._handles[file], self._handles[CHECKSUMS]
        offset = disk.append(handle, data)
        chunk = Chunk(file, self._segment, kind, offset, len(data), checksum(data), first, last)
        if self._fsync:
            disk.sync(self.folder / file, handle.fileno())
        line = chunk.line()
        self._sealed = disk.append(checksums, line) + len(line)
        if self._fsync:
            disk.sync(self.folder / CHECKSUMS, checksums.fileno())

    def as_left(self) -> bool:
        """False when somebody else has written since the last piece."""
        # Opened anew: a network file system then asks its server.
        with (self.folder / CHECKSUMS).open("rb") as file:
            return file.seek(0, os.SEEK_END) == self._sealed

    def close(self) -> None:
        """Close the files and let others write; a second call does nothing."""
        self.leave()
        if self in _CLAIMED:
            _CLAIMED.discard(self)
            release(self.folder)

    def leave(self) -> None:
        """Close the files as the end of the process would, without a word to others."""
        self.closed = True
        for handle in self._handles.values():
            handle.close()

    def _claim(self) -> None:
        self._handles[LINES] = disk.open_append(self.folder / LINES)
        refuse_beside_writer(self.folder, self._handles[LINES])
        _CLAIMED.add(self)
        beat(self.folder)

    def _open_all(self) -> None:
        self.begun = True
        for name in FILES:
            if name != LINES:
                self._handles[name] = disk.open_append(self.folder / name)
        self._sealed = self._handles[CHECKSUMS].seek(0, os.SEEK_END)
        self.closed = False

    def _refuse_beside_run(self) -> None:
        held = holds_run(self.folder)
        if held:
            raise RunLogError(
                f"{self.folder} holds a run already ({held}). Choose another folder, or resume this run from its "
                "checkpoint."
            )


_CLAIMED: weakref.WeakSet[LogFiles] = weakref.WeakSet()


def _leave_to_parent() -> None:
    """Let a forked child neither write nor hold what its parent writes: buffers and locks are the parent's."""
    for files in list(_CLAIMED):
        files.leave()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)
