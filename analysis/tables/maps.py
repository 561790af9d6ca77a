"""Numbers behind maps and strips: one row a matrix, or one a matrix and record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from analysis.groups import layer_rows, layer_spread
from analysis.metrics import parked_step
from analysis.order import sorted_matrices
from analysis.quantities import QUANTITIES, quantity, record_of
from analysis.runs import Run, exact_event, move_counts
from analysis.stages import STAGES, chosen_events, stages_of
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
    records = np.array([record_of(run, step)] if len(run.steps) else [], np.int64)
    shown = np.full(len(records), step, np.int64)
    found = exact_event(run, step) if event else None
    own = {"step": by_record(run, shown), "record_step": by_record(run, run.steps[records])}
    return as_table(own | _quantities(run, records, since, [found] * len(records)))


def _quantities(run: Run, records: np.ndarray, since: int | None, events: Sequence[Any]) -> dict[str, Any]:
    """Return the columns of all matrices at records (n,), with what an event at each, or None, moves."""
    count, width = len(records), len(run.matrices)
    moves = np.array([move_counts(run, event) for event in events], np.int64).reshape(count, 2, width)
    return {
        **matrix_columns(run.matrices, np.tile(np.arange(width), count)),
        **{item.column: item.column_of(item.values(run, since)[records]) for item in QUANTITIES.values()},
        "stored_directions": run.stored[records].ravel(),
        "directions_used_per_step": run.expected_ranks[records].ravel(),
        "pruned": moves[:, 0].ravel(),
        "extended": moves[:, 1].ravel(),
    }


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
        asked.column: asked.column_of(values),
    }
    return as_table(columns)


def layer_means(run: Run, colour: str = "entropy", since: int | None = None) -> pa.Table:
    """One row a record and layer (null: outside the layers): the quantity over the matrices in which it is defined.

    ``mean``, ``least`` and ``greatest`` of them, null where it is defined in none; ``defined`` counts them.
    """
    asked = quantity(colour)
    rows = layer_rows(run)
    mean, least, greatest, defined = layer_spread(run, asked.values(run, since))
    return as_table(
        {
            "step": np.repeat(run.steps, len(rows)),
            "layer": pa.array(rows * len(run.steps), pa.int64()),
            "quantity": pa.array([asked.column] * mean.size, pa.string()),
            "mean": mean.ravel(),
            "least": least.ravel(),
            "greatest": greatest.ravel(),
            "defined": defined.ravel(),
        }
    )


def everything(run: Run) -> pa.Table:
    """One row a record and matrix with everything that a run says of them."""
    events = {event["step"]: event for event in run.events}
    found = [events.get(step) for step in run.steps.tolist()]
    return as_table({"step": by_record(run, run.steps)} | _quantities(run, np.arange(len(found)), None, found))


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
    refused = (exact_event(run, found.step) or {}).get("refused", {}) if found else {}
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
    values, others = np.full((2, len(matrices)), np.nan)
    for side, item in ((values, run), (others, other)):
        if len(item.steps):
            row = asked.values(item, since)[record_of(item, step)]
            side[:] = [row[item.places[m.name]] if m.name in item.places else np.nan for m in matrices]
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
