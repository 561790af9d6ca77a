"""A history of ranks as a run log: what a foreign log knows, and nothing more."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from analysis.importers.errors import LogImportError
from analysis.importers.mapping import Row, matrix_table
from flexlora.run_log import RunWriter

MAX_RANK = (1 << 16) - 1
"""A run log counts directions in 16 bits."""
MAX_STEP = (1 << 31) - 2
"""The player counts steps in 32 bits, and ranks appear one step after their event."""
MAX_EVENTS = 200_000
MAX_VALUES = 1 << 26
"""Directions over all records and matrices: 256 MB as float32. The largest runs of the Lab itself hold as many."""
UNKNOWN = "unknown"
END = "Imported: the log tells neither how the training ended nor what λ was."


@dataclass(frozen=True)
class RankHistory:
    """Ranks of M matrices after T allocations.

    Attributes:
        method: key of ``flexlora.methods.METHODS``.
        files: what it was read from.
        sources: (M,) name of each matrix in the log.
        steps: (T,) int64, as logged, ascending: the allocations after which ranks are known.
        ranks: (T, M) int64, ranks after the allocation of that step.
        complete: no rank changed between the logged allocations, so that the ranks before each but the first are known.
        scalars: step → fields of ``RunWriter.step``.
        evals: (step, split, metric → value).
        notes: fields of ``RunWriter.note``, each with ``kind`` and ``step``.
        notices: one line for each thing that is missing, odd or left out.
    """

    method: str
    files: Sequence[Path]
    sources: list[str]
    steps: np.ndarray
    ranks: np.ndarray
    complete: bool
    scalars: dict[int, dict[str, float]] = field(default_factory=dict)
    evals: list[tuple[int, str, dict[str, float]]] = field(default_factory=list)
    notes: list[dict[str, Any]] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    def records(self) -> list[tuple[int, int]]:
        """Return (step, row of ``ranks``) of each spectrum record that the log vouches for.

        A record shows what the decision of its step saw, so ranks after step t appear at t + 1. The ranks before an
        allocation are those after the one before it, if none lies between.
        """
        found = {}
        for row, step in enumerate(self.steps.tolist()):
            if self.complete and row:
                found[step] = row - 1
            found[step + 1] = row
        return sorted(found.items())


def write_history(out: Path, history: RankHistory, rows: Sequence[Row], kind: str) -> int:
    """Write a run folder from a history; return how many spectrum records it has.

    λ is unknown: each record holds as many NaN as the matrix has directions, and the header says
    ``singular_values: unknown``. Entropy and energy are therefore undefined. No event is written, for an event says
    what was scored and which direction moved; a note tells what the log knows of it.

    Args:
        out: the run folder, made by ``new_folder``.
        history: what to write.
        rows: one a matrix, in the order of ``history.sources``.
        kind: key of ``IMPORTERS``.

    Raises:
        LogImportError: more allocations or directions than can be imported.
        RunLogError: the folder cannot be written.
    """
    records = history.records()
    total = int(history.ranks.sum(axis=1)[[row for _, row in records]].sum())
    if len(history.steps) > MAX_EVENTS:
        raise LogImportError(
            f"The log holds {len(history.steps):,} allocations; at most {MAX_EVENTS:,} can be imported. "
            "Keep every k-th of them."
        )
    if total > MAX_VALUES:
        raise LogImportError(
            f"The log holds {total:,} directions over all records; at most {MAX_VALUES:,} can be imported. "
            "Keep every k-th allocation of it."
        )
    unknown = np.full(int(history.ranks.max(initial=0)), np.nan, np.float32)
    header = {
        "name": out.name,
        "method": history.method,
        "preset": None,
        "task": None,
        "config": {},
        "matrices": matrix_table(rows),
        "singular_values": UNKNOWN,
        "source": {"kind": kind, "steps": "as logged", "files": [fingerprint(path) for path in history.files]},
    }
    with RunWriter(out, header) as writer:
        for step, row in records:
            writer.spectrum(step, [unknown[:rank] for rank in history.ranks[row].tolist()])
        for step, fields in sorted(history.scalars.items()):
            writer.step(step, **fields)  # type: ignore[arg-type]
        for step, split, metrics in history.evals:
            writer.eval(step, split, metrics)
        for note in [*history.notes, *(_changes(history, rows) if history.complete else ())]:
            writer.note(**note)
        for notice in history.notices:
            writer.note("import", message=notice)
        writer.end("stopped", END)
    return len(records)


def _changes(history: RankHistory, rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Yield a note for each allocation: matrix → directions gained and lost, net; None = unknown."""
    yield {"kind": "reallocated", "step": int(history.steps[0]), "gained": None, "lost": None}
    for step, change in zip(history.steps[1:].tolist(), np.diff(history.ranks, axis=0), strict=True):
        gained = {rows[m]["name"]: int(change[m]) for m in np.flatnonzero(change > 0).tolist()}
        lost = {rows[m]["name"]: int(-change[m]) for m in np.flatnonzero(change < 0).tolist()}
        yield {"kind": "reallocated", "step": step, "gained": gained, "lost": lost}


def rank(text: str) -> int | None:
    """Return a rank or step that is written as a whole number, such as ``8`` or ``8.0``; None for anything else."""
    head, _, tail = text.strip().partition(".")
    if not (head.isascii() and head.isdigit() and len(head) <= 13) or tail.strip("0"):
        return None
    return int(head)


def fingerprint(path: Path) -> dict[str, Any]:
    """Return name, size and SHA-256 of a file that was imported."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"name": path.name, "bytes": path.stat().st_size, "sha256": digest}
