"""Write finished run logs anew in as few pieces as hold them: the same records, bit for bit, in less space.

python benchmarks/compact_log.py FOLDER [FOLDER ...]

A log that is watched live is flushed every 0.4 s, and every flush costs some two kilobytes; sample runs need that no
more. The new log replaces the old one only if everything that is read from both is equal.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

import numpy as np

from flexlora.run_log import RunLog, RunWriter, read_run

NEVER = 1e9
SPECTRA_ARRAYS = ("spectra_steps", "ranks", "stored", "values", "offsets", "true_values", "true_index", "gates")


def compact(folder: Path) -> tuple[int, int]:
    """Replace the log in ``folder``; return its bytes before and after.

    Raises:
        ValueError: the run is not finished, was resumed, or would not read back equal.
    """
    log = read_run(folder)
    if log.state != "finished" or any(note["kind"] == "resumed_from" for note in log.notes):
        raise ValueError(f"{folder} is not a run that finished in one go: {log.state}")
    before = _size(folder)
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / folder.name
        _write(log, folder, copy)
        _check_equal(log, read_run(copy))
        (copy / "heartbeat.json").unlink(missing_ok=True)
        shutil.rmtree(folder)
        shutil.copytree(copy, folder)
    return before, _size(folder)


def _write(log: RunLog, folder: Path, copy: Path) -> None:
    writer = RunWriter(copy, log.header, flush_interval_s=NEVER)
    for place in range(len(log.steps["step"])):
        row = {key: values[place] for key, values in log.steps.items()}
        writer.step(int(row.pop("step")), **{key: None if np.isnan(value) else value for key, value in row.items()})
    count = len(log.header["matrices"])
    for record, step in enumerate(log.spectra_steps):
        cuts = log.offsets[record * count : (record + 1) * count + 1]
        own = [log.values[start:stop] for start, stop in pairwise(cuts)]
        gates = None if log.gates is None else [log.gates[a:b] for a, b in pairwise(cuts)]
        true = None
        if log.true_index[record] >= 0:
            shift = log.true_index[record] - cuts[0]
            true = [log.true_values[a + shift : b + shift] for a, b in pairwise(cuts)]
        writer.spectrum(int(step), own, true, gates)
    for line in (folder / "events.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        kind = record.pop("record")
        if kind == "end":
            writer.end(**record)
        else:
            # Not RunWriter.event, which flushes.
            writer._line(kind, record)


def _check_equal(one: RunLog, other: RunLog) -> None:
    names = [item.name for item in fields(RunLog) if item.name not in ("folder", "spectra")]
    for name in (*names, *SPECTRA_ARRAYS):
        mine, own = getattr(one, name), getattr(other, name)
        if name == "steps":
            same = all(np.array_equal(mine[key], own[key], equal_nan=True) for key in mine)
        elif isinstance(mine, np.ndarray):
            same = np.array_equal(mine, own, equal_nan=True)
        else:
            same = mine == own
        if not same:
            raise ValueError(f"{one.folder}: {name} would not read back equal")


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(name, *compact(Path(name)))
