"""From arrays to tidy Arrow tables, and from those to bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import compute, csv, parquet

from analysis.runs import Matrix, Run

FORMULA = r"^([=+\-@\t\r])"
"""How a text begins that a spreadsheet computes; app/player/model/csv.js has the same."""


def as_table(columns: Mapping[str, Any]) -> pa.Table:
    """Make a table of equally long columns; NaN becomes null."""
    return pa.table({name: _column(values) for name, values in columns.items()})


def matrix_columns(matrices: Sequence[Matrix], rows: np.ndarray) -> dict[str, pa.Array]:
    """Return the columns matrix, layer and module_type of rows that are places in ``matrices``."""
    places = pa.array(rows.astype(np.int64))
    return {
        "matrix": pa.array([matrix.name for matrix in matrices], pa.string()).take(places),
        "layer": pa.array([matrix.layer for matrix in matrices], pa.int64()).take(places),
        "module_type": pa.array([matrix.module_type for matrix in matrices], pa.string()).take(places),
    }


def numbers(table: pa.Table, column: str) -> np.ndarray:
    """Return a column as float64, NaN for null."""
    return np.asarray(table[column].to_numpy(zero_copy_only=False), np.float64)


def spread(table: pa.Table, column: str) -> pa.Table:
    """Turn one row a step and matrix, steps in order, into one row a step with the column of each matrix."""
    names = list(dict.fromkeys(table["matrix"].to_pylist()))
    steps = table["step"].combine_chunks()[:: max(1, len(names))]
    own = {name: table[column].combine_chunks()[place :: len(names)] for place, name in enumerate(names)}
    return pa.table({"step": steps, **own})


def by_record(run: Run, values: np.ndarray) -> np.ndarray:
    """Repeat one value a record for every matrix, (T · M,)."""
    return np.repeat(values, len(run.matrices))


def write_csv_bytes(table: pa.Table) -> bytes:
    """Return a table as UTF-8 CSV with one header line; undefined is an empty field.

    A text that a spreadsheet would take for a formula has an apostrophe before it: names come from outside.
    """
    sink = io.BytesIO()
    for place, field in enumerate(table.schema):
        if pa.types.is_string(field.type):
            options = compute.ReplaceSubstringOptions(FORMULA, r"'\1")
            table = table.set_column(
                place, field, compute.call_function("replace_substring_regex", [table[place]], options)
            )
    csv.write_csv(table, sink, csv.WriteOptions(quoting_style="needed"))
    return sink.getvalue()


def write_parquet_bytes(table: pa.Table) -> bytes:
    """Return a table as a Parquet file (zstd); undefined is null."""
    sink = io.BytesIO()
    parquet.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _column(values: Any) -> pa.Array | pa.ChunkedArray:
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return values
    if isinstance(values, np.ndarray) and values.dtype.kind == "f":
        return pa.array(values, pa.float64(), from_pandas=True)
    return pa.array(values)
