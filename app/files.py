"""Files that a visitor brings, uploaded or named, and how one knows that a file has changed."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from analysis.outside import OutsideError, expanded

_APP = Path(__file__).resolve().parent
# The wheel carries sample runs within the app, the repository beside it.
REPOSITORY = _APP if (_APP / "sample_runs").is_dir() else _APP.parent


class Uploaded(Protocol):
    """What Streamlit's file uploader gives."""

    name: str
    size: int
    file_id: str

    def getbuffer(self) -> memoryview:
        """Return the content without a copy."""
        ...


class Kept:
    """A folder of files that goes when nobody holds this any more: a session that ended, or the server.

    Args:
        contents: name → bytes.
        prefix: of the folder's name.

    Raises:
        OSError: the disk is full.
    """

    def __init__(self, contents: Mapping[str, Any], prefix: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=prefix)).resolve()
        self.remove = weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        for name, content in contents.items():
            (self.folder / name).write_bytes(content)


def named(typed: str, error: type[OutsideError]) -> Path:
    """Return the path that was typed; a relative one that leads nowhere begins in the Lab's own folder.

    ``error`` is raised for a ~ of nobody.
    """
    path = expanded(typed, error)
    # Path.exists raises for a name that is too long.
    return path if path.is_absolute() or os.path.exists(path) else REPOSITORY / path  # noqa: PTH110


def stamp(*files: Path) -> tuple[int, ...]:
    """Return numbers that change with the files; those of one that cannot be looked at are 0."""
    found: list[int] = []
    for file in files:
        try:
            status = file.stat()
            found += [status.st_mtime_ns, status.st_size, status.st_ino]
        except (OSError, ValueError):
            found += [0, 0, 0]
    return tuple(found)
