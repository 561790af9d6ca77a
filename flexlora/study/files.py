"""The files of a study's folder, each replaced whole, and the lock that keeps a second runner out."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from flexlora.errors import FlexLoRAError

SPEC = "study.yaml"
RUNS = "runs"
TRIALS = "trials"
POLICY_FILES = "policies"
FROZEN = "choices.json"
TABLE = "table.csv"
PARQUET = "table.parquet"
COSTS = "costs.csv"
SUMMARY = "study.json"
LOCK = ".lock"
OUTPUTS = (SUMMARY, TABLE, PARQUET, COSTS)


def replace_file(path: Path, content: bytes) -> None:
    """Write a file so that whoever reads it sees the old content or the new, whenever this process is killed."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def json_bytes(content: Any) -> bytes:
    """Return indented JSON."""
    return (json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


@contextlib.contextmanager
def study_folder(out: Path, text: str, *, resume: bool) -> Iterator[None]:
    """Hold the folder of a study, made if needed, and keep a copy of its file there.

    A folder that was made here and in which no run came to be is removed again.

    Raises:
        FlexLoRAError: a study is there and ``resume`` is not asked for, another runner holds it, or it cannot be made.
    """
    known = (out / SPEC).exists()
    if known and not resume:
        raise FlexLoRAError(f"{out} holds a study already. Go on with it by --resume, or choose another --out.")
    if not known and out.exists() and (not out.is_dir() or any(entry.name != LOCK for entry in out.iterdir())):
        raise FlexLoRAError(f"{out} exists and holds no study. Choose another --out.")
    made = not out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
        with (out / LOCK).open("w") as lock:
            _hold(lock, out)
            replace_file(out / SPEC, text.encode())
            try:
                yield
            finally:
                if not known and not any(any((out / name).glob("*/run.json")) for name in (RUNS, TRIALS)):
                    _unmake(out, whole=made)
    except OSError as error:
        raise FlexLoRAError(f"{out} cannot be written: {error.strerror or error}.") from error


def is_held(out: Path) -> bool:
    """Tell whether a runner, of whatever process, works on a study now."""
    try:
        with (out / LOCK).open("r+") as lock:
            _hold(lock, out)
    except FileNotFoundError:
        return False
    except (FlexLoRAError, OSError):
        return True
    return False


def _hold(lock: IO[str], out: Path) -> None:
    try:
        import fcntl
    except ImportError:
        # Windows: two runners at once are for the person to avoid.
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise FlexLoRAError(f"{out} is being worked on by another runner. Wait for it, or stop it.") from error


def _unmake(out: Path, *, whole: bool) -> None:
    for name in (SPEC, LOCK):
        (out / name).unlink(missing_ok=True)
    for copy in (out / POLICY_FILES).glob("*.py"):
        copy.unlink()
    with contextlib.suppress(OSError):
        for name in (RUNS, TRIALS, POLICY_FILES):
            for folder in (out / name).glob("*"):
                folder.rmdir()
            if (out / name).exists():
                (out / name).rmdir()
        if whole:
            out.rmdir()
