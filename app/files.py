"""Files that a visitor uploads, and how one knows that a file has changed."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

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
        contents: name → bytes; a name may lie in folders, which are made.
        prefix: of the folder's name.

    Raises:
        OSError: the disk is full.
    """

    def __init__(self, contents: Mapping[str, Any], prefix: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=prefix)).resolve()
        self.remove = weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        for name, content in contents.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_bytes(content)


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
