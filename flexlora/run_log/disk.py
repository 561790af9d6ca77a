"""Everything that a run folder has done to it on disk, through one function: ``perform``."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


def perform(kind: str, path: Path, act: Callable[..., Any], *given: Any) -> Any:
    """Do one operation; the place where tests let a disk fail or a process die.

    Args:
        kind: folder, open, write, sync, replace, truncate or remove.
        path: what it is done to.
        act: does it; of ``write`` it returns the number of bytes that were taken, or writes the whole file.
        given: its arguments; of ``write`` the bytes, or the path of the file.
    """
    return act(*given)


def make_folder(path: Path) -> None:
    """Make a folder, and those above it."""
    perform("folder", path, lambda: path.mkdir(parents=True, exist_ok=True))


def open_append(path: Path) -> Any:
    """Open a file, made if needed, whose every write goes to its end at once."""
    return perform("open", path, lambda: path.open("ab", buffering=0))


def content(path: Path) -> bytes:
    """Return the bytes of a file; none when it is not there."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def size(path: Path) -> int:
    """Return the length of a file in bytes; 0 when it is not there."""
    try:
        return path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return 0


def append(handle: Any, data: bytes) -> int:
    """Write all of ``data`` to the end of a file; return where it begins."""
    path, view = Path(handle.name), memoryview(data)
    while view:
        view = view[perform("write", path, handle.write, view) :]
    # Told by the file afterwards: nobody can have come in between.
    return handle.tell() - len(data)


def sync(path: Path, number: int) -> None:
    """Ask the disk to keep what was written to an open file or folder."""
    perform("sync", path, os.fsync, number)


def sync_folder(path: Path) -> None:
    """Ask the disk to keep the names of the files in a folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        sync(path, handle)
    finally:
        os.close(handle)


def put(path: Path, write: Callable[[Path], Any], *, durable: bool = False) -> None:
    """Replace a file whole or not at all: ``write`` writes the new content to the path that it is given.

    ``durable`` also asks the disk to keep it.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        perform("write", path, write, temporary)
        if durable:
            with temporary.open("rb+") as file:
                sync(path, file.fileno())
        perform("replace", path, temporary.replace, path)
    except Exception:
        # A full disk is not to be kept full by half a file.
        remove(temporary)
        raise


def put_bytes(path: Path, data: bytes, *, durable: bool = False) -> None:
    """Replace a file by some bytes, whole or not at all."""
    put(path, lambda temporary: temporary.write_bytes(data), durable=durable)


def truncate(path: Path, size: int) -> None:
    """Cut a file."""
    perform("truncate", path, os.truncate, path, size)


def remove(path: Path) -> None:
    """Remove a file, if it is there and can be."""
    try:
        perform("remove", path, lambda: path.unlink(missing_ok=True))
    except OSError:
        return


def is_locked_elsewhere(handle: Any) -> bool:
    """Lock an open file for as long as it is open; True when another holder has it.

    False where the file system or the system has no such locks: then nothing is known.
    """
    if fcntl is None:
        return False
    try:
        fcntl.flock(handle.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
