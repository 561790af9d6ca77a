"""Numbers behind maps and strips: one row a matrix, or one a matrix and record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from analysis.metrics import parked_step
from analysis.order import sorted_matrices
from analysis.quantities import QUANTITIES, quantity, record_of
from analysis.runs import Run
from analysis.stages import STAGES, chosen_events, event_at, move_counts, stages_of
from analysis.tables.columns import as_table, by_record, matrix_columns


def shown_step(run: Run, step: int | None) -> int:
    """Return the step that a map shows: as asked, else where the run is parked."""
    return parked_step(run) if step is None else step


def rank_map(
    run: Run, step: int | None = None, colour: str = "rank", since: int | None = None, event: bool = True
) -> pa.Table:
    """One row a matrix at a step (None: the parked event), with every quantity that may colour the map.

    ``record_step`` is the record that is shown, the latest at or before the step; ``pruned`` and ``extended`` count
    what an event at exactly this step moves, 0 with ``event=False``.
    """
    quantity(colour)
    step = shown_step(run, step)
    if not len(run.steps):
        return _map_columns(run, step, np.zeros(0, np.int64), 0, since, event)
    return _map_columns(run, step, np.arange(len(run.matrices)), record_of(run, step), since, event)


def _map_columns(run: Run, step: int, rows: np.ndarray, record: int, since: int | None, event: bool) -> pa.Table:
    own = next((item for item in run.events if item["step"] == step), None) if event else None
    pruned, extended = move_counts(run, own)
    columns: dict[str, Any] = {"step": np.full(len(rows), step, np.int64)}
    columns["record_step"] = np.full(len(rows), run.steps[record] if len(rows) else 0, np.int64)
    columns |= matrix_columns(run.matrices, rows)
    columns |= {name: values[record, rows] if len(rows) else np.zeros(0) for name, values in _quantities(run, since)}
    columns["rank"] = columns["rank"].astype(np.int64)
    columns["rank_change"] = columns["rank_change"].astype(np.int64)
    columns["stored_directions"] = run.stored[record, rows] if len(rows) else np.zeros(0, np.int64)
    columns["directions_used_per_step"] = run.expected_ranks[record, rows] if len(rows) else np.zeros(0)
    columns |= {"pruned": pruned[rows], "extended": extended[rows]}
    return as_table(columns)


def _quantities(run: Run, since: int | None) -> list[tuple[str, np.ndarray]]:
    return [(item.column, item.values(run, since)) for item in QUANTITIES.values()]


def strip(run: Run, colour: str = "entropy", sort: str = "architecture", since: int | None = None) -> pa.Table:
    """One row a record and matrix, records in order and matrices in the order of ``sort`` (``place``)."""
    asked = quantity(colour)
    order = sorted_matrices(run, sort)
    values = asked.values(run, since)[:, order]
    count = len(run.steps)
    columns: dict[str, Any] = {
        "step": by_record(run, run.steps),
        "place": np.tile(np.arange(len(order)), count),
        **matrix_columns(run.matrices, np.tile(order, count)),
        asked.column: _whole(values.ravel()) if colour in ("rank", "change") else values.ravel(),
    }
    return as_table(columns)


def everything(run: Run) -> pa.Table:
    """One row a record and matrix with everything that a run says of them."""
    count, width = run.ranks.shape
    columns: dict[str, Any] = {"step": by_record(run, run.steps)}
    columns |= matrix_columns(run.matrices, np.tile(np.arange(width), count))
    for name, values in _quantities(run, None):
        columns[name] = _whole(values.ravel()) if name in ("rank", "rank_change") else values.ravel()
    columns["stored_directions"] = run.stored.ravel()
    columns["directions_used_per_step"] = run.expected_ranks.ravel()
    pruned, extended = np.zeros((2, count, width), np.int64)
    for event in run.events:
        record = int(np.searchsorted(run.steps, event["step"]))
        if record < count and run.steps[record] == event["step"]:
            pruned[record], extended[record] = move_counts(run, event)
    return as_table(columns | {"pruned": pruned.ravel(), "extended": extended.ravel()})


def event_stages(run: Run, step: int | None = None) -> pa.Table:
    """One row a stage and matrix of the event at a step (None: the parked one).

    ``value`` is what the stage's map colours: the score, its place in the order, the rank after pruning, the rank after
    extending, the rank that training resumes with. Where directions are scored, the mean score of the matrix's
    directions, and how many of them stand above the threshold. ``passed_over`` says why a matrix that stood out could
    neither give nor take.

    Raises:
        ValueError: there is no event at this step.
    """
    found = stages_of(run, step)
    width = len(run.matrices) if found else 0
    none = np.zeros(width, np.int64)
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    if found:
        after = found.rank - found.pruned
        parts = [(found.score, none, none), (found.order, none, none), (after, found.pruned, none)]
        parts += [(after + found.extended, none, found.extended), (after + found.extended, none, none)]
    rows = np.tile(np.arange(width), len(parts))
    refused = (event_at(run, found.step) or {}).get("refused", {}) if found else {}
    return as_table(
        {
            "step": np.full(len(rows), found.step if found else 0, np.int64),
            "stage": pa.array([name for name in STAGES for _ in range(width)] if found else [], pa.string()),
            **matrix_columns(run.matrices, rows),
            "measure": pa.array([found.measure] * len(rows) if found else [], pa.string()),
            "value": np.concatenate([part[0] for part in parts]) if parts else np.zeros(0),
            "pruned": np.concatenate([part[1] for part in parts]) if parts else none,
            "extended": np.concatenate([part[2] for part in parts]) if parts else none,
            "passed_over": pa.array([refused.get(matrix.name) for matrix in run.matrices] * len(parts), pa.string()),
        }
    )


def events_grid(run: Run, count: int = 6, colour: str = "rank", since: int | None = None) -> pa.Table:
    """The rows of ``rank_map`` at several events, one after another."""
    return rank_maps(run, chosen_events(run, count) if len(run.steps) else [], colour, since)


def rank_maps(run: Run, steps: Sequence[int], colour: str = "rank", since: int | None = None) -> pa.Table:
    """The rows of ``rank_map`` at several steps, one after another."""
    tables = [rank_map(run, step, colour, since) for step in steps]
    return pa.concat_tables(tables) if tables else rank_map(run, None, colour, since).slice(0, 0)


def compare_maps(
    run: Run, other: Run, step: int | None = None, colour: str = "rank", since: int | None = None
) -> pa.Table:
    """One row a matrix of either run, matched by name: ``value``, ``other_value`` and their ``difference``.

    Each run shows its latest record at or before the step (None: the parked event of the first). A matrix that only one
    run has is null on the other side and in the difference.
    """
    asked = quantity(colour)
    step = shown_step(run, step)
    known = {matrix.name for matrix in run.matrices}
    matrices = [*run.matrices, *(matrix for matrix in other.matrices if matrix.name not in known)]
    sides = [_by_name(item, step, colour, since) for item in (run, other)]
    values, others = (np.array([side.get(m.name, np.nan) for m in matrices], np.float64) for side in sides)
    return as_table(
        {
            "step": np.full(len(matrices), step, np.int64),
            **matrix_columns(matrices, np.arange(len(matrices))),
            "quantity": pa.array([asked.column] * len(matrices), pa.string()),
            "value": values,
            "other_value": others,
            "difference": values - others,
        }
    )


def _by_name(run: Run, step: int, colour: str, since: int | None) -> dict[str, float]:
    if not len(run.steps):
        return {}
    row = quantity(colour).values(run, since)[record_of(run, step)]
    return dict(zip([matrix.name for matrix in run.matrices], row.tolist(), strict=True))


def _whole(values: np.ndarray) -> np.ndarray:
    return values.astype(np.int64)
