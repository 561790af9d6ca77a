"""What is found out about a run after it has ended."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from flexlora.run_log import disk
from flexlora.run_log.encode import json_line
from flexlora.run_log.files import FILES, LogFiles
from flexlora.run_log.format import HEADER, HEARTBEAT, LINES, RunLogError
from flexlora.run_log.glance import glance_run
from flexlora.run_log.reader import keep_digest


def add_eval(
    folder: str | Path, step: int, split: str, metrics: Mapping[str, float], samples: int | None = None
) -> None:
    """Add an evaluation to a run that has ended; it ends as it did.

    Args:
        folder: a run folder that nobody writes.
        step: finished optimizer steps.
        split: what it was evaluated on.
        metrics: name → value.
        samples: number of examples; None = not told.

    Raises:
        RunLogError: it is no run, is being written, or cannot be written.
    """
    folder = Path(folder)
    files = LogFiles(folder, fsync=False)
    record = {"step": int(step), "split": split, "metrics": dict(metrics), "samples": samples, "wall_s": None}
    try:
        files.join()
        files.append(LINES, "lines", json_line("eval", record), int(step), int(step))
    except OSError as error:
        raise RunLogError(f"The log in {folder} cannot be written: {error.strerror or error}.") from error
    finally:
        files.close()
    keep_digest(folder)


def discard_empty(folder: str | Path) -> bool:
    """Remove the log of a run that has ended without a step; return False, and leave it, where it holds one.

    Raises:
        RunLogError: it is no run.
    """
    folder = Path(folder)
    glance = glance_run(folder)
    if glance.step or glance.end is None:
        return False
    for name in (*FILES, HEARTBEAT, HEADER):
        disk.remove(folder / name)
    return True
