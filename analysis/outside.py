"""Files from elsewhere: errors of one line, what is quoted of them, and folders that are made whole or not at all."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flexlora.errors import FlexLoRAError


class OutsideError(FlexLoRAError):
    """A file that cannot be used: what was wrong, what was got, what is allowed, what to do.

    Always one line: names from a file may hold line breaks.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))


def shown(value: object) -> str:
    """Return the representation of a value from a file, short enough to quote."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, without a full stop."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def listed(names: list[str], most: int = 4) -> str:
    """Return some of the names, quoted, and how many more there are."""
    told = ", ".join(shown(name) for name in names[:most])
    return f"{told} and {len(names) - most} more" if len(names) > most else told


def expanded(path: str | Path, error: type[OutsideError]) -> Path:
    """Return a path with ~ resolved; ``error`` is raised where nobody has this name."""
    try:
        return Path(path).expanduser()
    except RuntimeError as reason:
        raise error(f"{path} cannot be resolved: {reason}. Choose another folder.") from reason


def existing(path: str | Path, error: type[OutsideError], wanted: str) -> Path:
    """Return a path with ~ resolved; ``error`` says what is ``wanted`` where there is nothing."""
    found = expanded(path, error)
    try:
        there = found.exists()
    except (OSError, ValueError) as reason:
        raise error(f"{shown(str(path))} cannot be opened: {getattr(reason, 'strerror', None) or reason}.") from reason
    if not there:
        raise error(f"{path} does not exist. {wanted}")
    return found


def read_json(path: Path, most_bytes: int) -> Any:
    """Return the content of a JSON file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no JSON, or larger than ``most_bytes``.
    """
    if (size := path.stat().st_size) > most_bytes:
        raise ValueError(f"it has {size >> 20} MiB; at most {most_bytes >> 20} MiB are read")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


@contextlib.contextmanager
def new_folder(out: str | Path, error: type[OutsideError]) -> Iterator[Path]:
    """Yield an empty folder that becomes ``out`` when the block ends well, and is removed otherwise.

    ``error`` is raised where ``out`` holds something, or cannot be made.
    """
    out = Path(out)
    if out.name.isspace():
        raise error(f"{shown(str(out))} is no name of a folder: it is blank. Give one.")
    try:
        if out.is_symlink() or (out.exists() and (not out.is_dir() or any(out.iterdir()))):
            raise error(f"{out} exists already and is not empty. Choose a new folder, or an empty one.")
        # A path may end in "..": the folder's own name is needed.
        out = out.resolve()
        out.parent.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except error:
        raise
    except (OSError, ValueError) as why:
        reason = getattr(why, "strerror", None) or why
        raise error(f"{shown(str(out))} cannot be made: {reason}. Choose another folder.") from why
    try:
        inner = place / out.name
        inner.mkdir()
        yield inner
        try:
            if out.exists():
                out.rmdir()
            inner.rename(out)
        except OSError as why:
            if out.exists() and any(out.iterdir()):
                raise error(f"{out} was filled by something else meanwhile. Choose a new folder.") from why
            raise
    finally:
        shutil.rmtree(place, ignore_errors=True)
