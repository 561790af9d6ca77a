"""The library: one row a run, read from its header and its lines, never from its spectra."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from analysis.metrics import last_result, told_state
from files import stamp
from flexlora.run_log import Glance, RunLogError, glance_run, run_state
from flexlora.run_log.format import CHECKSUMS, HEADER
from flexlora.run_log.pieces import DATA
from jobs.owner import Owner, owns, read_owner
from runs.notes import Notes, read_notes

DAMAGED = "damaged"
"""State of a run whose header cannot be read."""

YOURS, OTHERS, BUNDLED = WHERE = ("yours", "another's", "bundled")
"""Whose a run is. One that is nobody's in particular counts as the viewer's."""


@dataclass(frozen=True)
class RunRow:
    """One run of the library.

    Attributes:
        key: as in `data.RunEntry.key`.
        folder: the run log.
        state: as in ``RunLog.state``, ``paused`` or ``DAMAGED``.
        seed: of the run; None where the header does not tell.
        importance: key of the measure that decides; empty for a method that has no choice of one.
        schedule: key of what the budget follows; empty for a method without one.
        parent: name of the run whose settings it was edited from, or empty.
        step: the last recorded one.
        steps: how many the run was made for.
        rank: directions a matrix that its configuration asks for at the end; None where it does not tell.
        matrices: how many are adapted.
        created: when it began, or was imported; None where the header does not tell.
        measured: what ``result`` is, such as "test accuracy"; empty without an evaluation.
        result: of the last evaluation, on the test split if there is one.
        net_moves: directions that the matrices gained or lost in the end; None where the log does not tell.
        disk_bytes: everything in the folder, checkpoint and adapter included.
        source: name of the file that it was imported from, or empty.
        replayable: it holds λ, on which other settings can be tried.
        fault: why it cannot be opened, or what is missing; empty for a good one.
        where: one of ``WHERE``.
        notes: tags and note.
    """

    key: str
    folder: Path
    state: str
    method: str = ""
    preset: str = ""
    task: str = ""
    seed: int | None = None
    importance: str = ""
    schedule: str = ""
    parent: str = ""
    step: int = 0
    steps: int = 0
    rank: int | None = None
    matrices: int = 0
    created: datetime | None = None
    measured: str = ""
    result: float | None = None
    net_moves: int | None = None
    disk_bytes: int = 0
    source: str = ""
    replayable: bool = False
    fault: str = ""
    where: str = YOURS
    notes: Notes = field(default_factory=Notes)

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.folder.name

    @property
    def own(self) -> bool:
        """True for a run that was made here, False for a bundled one."""
        return self.key.startswith("runs/")


def read_rows(entries: Iterable[tuple[str, Path]], me: Owner) -> list[RunRow]:
    """Return one row for each (key, folder), in their order, as ``me`` sees it; a damaged run has one that says so."""
    rows = [read_row(key, folder) for key, folder in entries]
    return [replace(row, where=whose(row.key, row.folder, me)) for row in rows]


def whose(key: str, folder: Path, me: Owner) -> str:
    """Return whose a run is to ``me``, one of ``WHERE``."""
    if not key.startswith("runs/"):
        return BUNDLED
    # A run of a study is its study's owner's.
    held = folder.parent.parent if key.count("/") > 1 else folder
    return YOURS if owns(me, read_owner(held)) else OTHERS


def read_row(key: str, folder: Path) -> RunRow:
    """Return the row of one run. What it is made from is read again only when the log has changed."""
    found = _glance(str(folder), stamp(*(folder / name for name in (HEADER, CHECKSUMS, *DATA))))
    size = disk_use(folder)
    if isinstance(found, str):
        return RunRow(key, folder, DAMAGED, disk_bytes=size, fault=found, notes=read_notes(folder))
    header, config = found.header, found.header.get("config", {})
    planned = config.get("total_steps")
    measured, result = last_result(found.evals)
    return RunRow(
        key,
        folder,
        told_state(run_state(folder, found.end), found.notes),
        method=_text(header.get("method")),
        preset=_text(header.get("preset")),
        task=_text(header.get("task")),
        seed=seed if isinstance(seed := header.get("seed"), int) else None,
        importance=_text(config.get("importance")),
        schedule=_text(config.get("schedule")),
        parent=_text(header.get("parent")),
        step=found.step,
        steps=planned if isinstance(planned, int) and planned > 0 else found.step,
        rank=rank if isinstance(rank := config.get("target_rank") or config.get("initial_rank"), int) else None,
        matrices=len(header["matrices"]),
        created=_date(header.get("created_unix_s")),
        measured=measured,
        result=result,
        net_moves=found.net_moves,
        disk_bytes=size,
        source=_source(header),
        replayable=header.get("singular_values") != "unknown",
        fault=" ".join(found.notices),
        notes=read_notes(folder),
    )


def search(rows: Sequence[RunRow], text: str) -> list[RunRow]:
    """Return the rows that hold every word of ``text``, in any case, anywhere in what the table says of them."""
    words = text.casefold().split()
    found = []
    for row in rows:
        told = (row.name, row.method, row.preset, row.task, row.state, row.measured, row.where, row.source)
        told += (row.importance, row.schedule, row.parent, *row.notes.tags, row.notes.note)
        held = " ".join(told).casefold()
        if all(word in held for word in words):
            found.append(row)
    return found


def columns(rows: Sequence[RunRow]) -> dict[str, list[Any]]:
    """Return the table of the library, column by column."""
    return {
        "name": [row.name for row in rows],
        "where": [row.where for row in rows],
        "state": [f"{row.state} ⚠" if row.fault else row.state for row in rows],
        "tags": [", ".join(row.notes.tags) for row in rows],
        "method": [row.method for row in rows],
        "preset": [row.preset for row in rows],
        "task": [row.task for row in rows],
        "seed": [row.seed for row in rows],
        "importance": [row.importance for row in rows],
        "schedule": [row.schedule for row in rows],
        "step": [row.step for row in rows],
        "of": [row.steps for row in rows],
        "result": [row.result for row in rows],
        "measured": [row.measured for row in rows],
        "net moves": [row.net_moves for row in rows],
        "made from": [row.parent for row in rows],
        "created": [row.created for row in rows],
        "size": [row.disk_bytes for row in rows],
    }


def describe_row(row: RunRow) -> str:
    """Return one line about a run, computed from its row."""
    if row.state == DAMAGED:
        return f"{DAMAGED} · {size_text(row.disk_bytes)}"
    parts = [f"{row.method or 'a run'} ({row.preset or 'no preset'}) on {row.task or 'an unknown task'}"]
    parts.append(f"{row.state}, step {row.step} of {row.steps}")
    parts.append(f"{row.matrices} matrices")
    if row.result is not None:
        parts.append(f"{row.measured} {row.result:.3f}")
    if row.net_moves is not None:
        parts.append(f"{row.net_moves} directions moved, net")
    if row.parent:
        parts.append(f"made from {row.parent}")
    if row.source:
        parts.append(f"imported from {row.source}")
    if row.created is not None:
        parts.append(f"{'imported' if row.source else 'begun'} {row.created:%Y-%m-%d %H:%M}")
    parts.append(size_text(row.disk_bytes))
    return " · ".join(parts)


def disk_use(folder: Path) -> int:
    """Return the bytes of all files in a folder and below it; links count for nothing, and are not followed."""
    total = 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    total += disk_use(Path(entry.path))
                elif stat.S_ISREG(status.st_mode):
                    total += status.st_size
    except OSError:
        # A file may vanish while we look, and a folder be another user's.
        pass
    return total


def size_text(count: float) -> str:
    """Return a number of bytes for a person, in units of 1,000 as the table has them."""
    for unit in ("B", "KB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


@lru_cache(maxsize=2048)
def _glance(folder: str, changed: tuple[int, ...]) -> Glance | str:
    """Return what the log tells, or why it cannot be read; once for as long as its files stay the same."""
    try:
        return glance_run(Path(folder))
    except RunLogError as error:
        return str(error)


def _source(header: dict[str, Any]) -> str:
    source = header.get("source")
    files = source.get("files") if isinstance(source, dict) else None
    first = files[0] if isinstance(files, list) and files else None
    return _text(first.get("name")) if isinstance(first, dict) else ""


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _date(value: Any) -> datetime | None:
    return datetime.fromtimestamp(value) if isinstance(value, int | float) and 0 <= value < 1e11 else None
