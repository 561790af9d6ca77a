"""A recorded run to look at while the line is long."""

from __future__ import annotations

from collections.abc import Iterable

from flexlora.job import Job
from jobs.registry import Line
from runs.rows import DAMAGED, RunRow, read_row
from runs.store import NEWCOMERS_RUN, run_entries

LONG_LINE = 3
"""So many wait that what is there already is offered first."""


def is_long(line: Line) -> bool:
    """Return whether who comes now would wait for several others."""
    return len(line.waiting) >= LONG_LINE


def nearest_recorded(job: Job) -> RunRow | None:
    """Return the bundled run that is most like a job; None when there is none at all."""
    return nearest(job, (read_row(*entry) for entry in run_entries() if not entry.key.startswith("runs/")))


def nearest(job: Job, rows: Iterable[RunRow]) -> RunRow | None:
    """Return the row that is most like a job: of its task, its method, its preset, its length; then a newcomer's."""

    def unlike(row: RunRow) -> tuple[object, ...]:
        preset = getattr(job.config, "preset", None)
        differs = (row.task != job.task, row.method != job.method, row.preset != preset)
        return (*differs, abs(row.steps - job.steps), row.name != NEWCOMERS_RUN, row.name)

    return min((row for row in rows if row.state != DAMAGED), key=unlike, default=None)
