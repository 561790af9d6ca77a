"""Numbers behind the spectrum of one matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from analysis.directions import arriving, direction_stays, directions_at, slots_at, true_lines
from analysis.metrics import first_matrix
from analysis.quantities import record_of
from analysis.runs import Run
from analysis.tables.columns import as_table, matrix_columns
from analysis.tables.maps import shown_step


def shown_matrix(run: Run, matrix: str | None) -> int:
    """Return the place of a matrix; None: the first one that the parked event moves, else the first.

    Raises:
        ValueError: the run has no matrix of this name.
    """
    asked = first_matrix(run) if matrix is None else matrix
    return 0 if asked is None else run.place_of(asked)


def spectrum(run: Run, matrix: str | None = None, step: int | None = None) -> pa.Table:
    """One row a direction of a matrix at a step, and one a true singular value of ΔW.

    ``kind`` is ``direction`` (λ as trained, with ``state``: kept, off, pruned, new, ...), ``arriving`` (added by the
    event at this step, no λ yet) or ``true`` (σ of ΔW, scale included, of the latest record that has them;
    ``over_scale`` is σ / s, which compares with |λ|).

    Raises:
        ValueError: the run has no matrix of this name.
    """
    place = shown_matrix(run, matrix)
    rows: list[dict[str, Any]] = []
    if len(run.steps):
        record = record_of(run, shown_step(run, step))
        at = int(run.steps[record])
        for number, found in enumerate(directions_at(run, record, place), 1):
            rows.append({"record_step": at, "kind": "direction", "place": number, **found._asdict()})
        first = len(rows) + 1
        for number in range(arriving(run, record, place)):
            rows.append({"record_step": at, "kind": "arriving", "place": first + number, "state": "arriving"})
        rows += _true_rows(run, at, place)
    columns: dict[str, Any] = {"record_step": pa.array([row["record_step"] for row in rows], pa.int64())}
    columns |= matrix_columns(run.matrices, np.full(len(rows), place))
    for name, kind in _SPECTRUM.items():
        columns[name] = pa.array([row.get(name) for row in rows], kind, from_pandas=True)
    return as_table(columns)


_SPECTRUM = {
    "kind": pa.string(),
    "place": pa.int64(),
    "slot": pa.int64(),
    "singular_value": pa.float64(),
    "over_scale": pa.float64(),
    "gate": pa.float64(),
    "energy_share": pa.float64(),
    "state": pa.string(),
}


def _true_rows(run: Run, step: int, place: int) -> list[dict[str, Any]]:
    truth = run.true_singular_values(step)
    if truth is None:
        return []
    at, values = truth
    own = np.sort(values[run.matrices[place].name].astype(np.float64))[::-1]
    scale = run.scale or 1.0
    return [
        {"record_step": at, "kind": "true", "place": i, "singular_value": value, "over_scale": value / scale}
        for i, value in enumerate(own.tolist(), 1)
    ]


def spectra_map(run: Run, step: int | None = None) -> pa.Table:
    """One row a direction of every matrix at a step (None: the parked event), matrices in order.

    ``record_step`` is the record that is shown, the latest at or before the step; within a matrix those that are on
    come first, then the largest |λ| (``place``). ``slot`` is null where the log does not say.
    """
    values, gates, slots, ranks, at = np.zeros(0), np.zeros(0), np.zeros(0), np.zeros(0, np.int64), 0
    matrix = np.zeros(0, np.int64)
    if len(run.steps):
        record = record_of(run, shown_step(run, step))
        found = run.log.spectra.record(record)
        at, values, ranks = int(run.steps[record]), found.values.astype(np.float64), run.ranks[record]
        gates = np.ones(len(values)) if found.all_gates is None else found.all_gates.astype(np.float64)
        slots = slots_at(run, record)
        matrix = np.repeat(np.arange(len(run.matrices)), run.stored[record])
    sizes = np.where(np.isnan(values), 0.0, np.abs(values))
    order = np.lexsort((-sizes, ~(gates > 0), matrix))
    matrix = matrix[order]
    first = np.searchsorted(matrix, matrix)
    return as_table(
        {
            "record_step": np.full(len(order), at, np.int64),
            **matrix_columns(run.matrices, matrix),
            "rank": ranks[matrix],
            "place": np.arange(len(order)) - first + 1,
            "slot": pa.array(slots[order].astype(np.int64), pa.int64(), mask=slots[order] < 0),
            "singular_value": values[order],
            "gate": gates[order],
        }
    )


def energy_shares(run: Run, matrix: str | None = None) -> pa.Table:
    """One row a record and stay of a direction in a slot: λ, its gate, λ² as a share of the matrix's energy.

    ``stay`` numbers the stays in the order in which they begin; the share is 0 for one that is off, null where the
    energy is 0 or unknown.

    Raises:
        ValueError: the run has no matrix of this name.
    """
    place = shown_matrix(run, matrix)
    parts = [np.zeros((6, 0))]
    for stay, (slot, steps, values, gate) in enumerate(direction_stays(run, place)):
        whole = run.energy[np.searchsorted(run.steps, steps), place]
        usable = np.isfinite(whole) & (whole > 0)
        share = np.divide(values**2 * (gate > 0), whole, out=np.full(len(steps), np.nan), where=usable)
        parts.append(np.stack([steps, np.full(len(steps), stay), np.full(len(steps), slot), values, gate, share]))
    every, stays, slots, lam, gates, shares = np.concatenate(parts, axis=1)
    return as_table(
        {
            "step": every.astype(np.int64),
            **matrix_columns(run.matrices, np.full(len(every), place)),
            "stay": stays.astype(np.int64),
            "slot": slots.astype(np.int64),
            "singular_value": lam,
            "gate": gates,
            "energy_share": shares,
        }
    )


def spectra_over_time(run: Run, matrix: str | None = None) -> pa.Table:
    """One row a record and stay of a direction in a slot of a matrix, then one a true singular value of ΔW.

    ``kind`` is ``direction`` (λ as trained, with its ``stay``, ``slot`` and ``gate``) or ``true`` (σ of ΔW, scale
    included; ``over_scale`` is σ / s, which compares with |λ|).

    Raises:
        ValueError: the run has no matrix of this name.
    """
    place = shown_matrix(run, matrix)
    own = energy_shares(run, run.matrices[place].name)
    steps, values = true_lines(run, place)
    truth = {
        "step": steps,
        **matrix_columns(run.matrices, np.full(len(steps), place)),
        "kind": pa.array(["true"] * len(steps), pa.string()),
        "singular_value": values,
        "over_scale": values / (run.scale or 1.0),
    }
    directions = own.drop_columns("energy_share").append_column("kind", pa.array(["direction"] * len(own), pa.string()))
    joined = pa.concat_tables([directions, as_table(truth)], promote_options="default")
    return joined.select([*own.column_names[:4], "kind", *own.column_names[4:-1], "over_scale"])
