"""Intact chunks as Arrow tables and as flat arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from flexlora.run_log.digest import Block
from flexlora.run_log.format import OPTIONAL, SCHEMAS

THREADED_BYTES = 8 << 20


def leading_schema(data: bytes | memoryview | None) -> memoryview | None:
    """Return the description of the columns that a chunk begins with; None when it begins with records."""
    if not data:
        return None
    view = memoryview(data)
    if pa.ipc.read_message(pa.py_buffer(view)).type != "schema":
        return None
    # Arrow's frame: a continuation mark, the length of the metadata, the metadata; a schema has no body.
    return view[: 8 + int.from_bytes(view[4:8], "little")]


def missing_columns(name: str, schema: bytes | memoryview | None) -> list[str]:
    """Return the columns that a segment should have and lacks.

    Args:
        name: file that it is in.
        schema: its description of the columns; None = lost, and taken to be this version's.
    """
    own = pa.ipc.open_stream(pa.py_buffer(schema or _described(name))).schema.names
    return [field.name for field in SCHEMAS[name] if field.name not in (*own, *OPTIONAL)]


def table_of(
    name: str, schema: bytes | memoryview | None, batches: Sequence[bytes | memoryview], limit: float
) -> pa.Table:
    """Return the records of one segment from its intact chunks, in order; those of steps after ``limit`` are void.

    ``name`` is the file that the bytes are from, ``schema`` as for ``missing_columns``.

    Raises:
        pyarrow.ArrowException, ValueError: the bytes are not what a writer makes.
    """
    # Arrow writes the description with the first batch, so that one brings its own.
    own = leading_schema(batches[0]) if batches else None
    data = b"".join([b"" if own else schema or _described(name), *batches])
    # Threads cost more than they save on the many small batches of a short run.
    options = pa.ipc.IpcReadOptions(use_threads=len(data) > THREADED_BYTES)
    table = pa.ipc.open_stream(pa.py_buffer(data), options=options).read_all()
    for field in SCHEMAS[name]:
        if field.name in OPTIONAL and field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(table.num_rows, field.type))
    steps = table["step"].to_numpy()
    kept = table.select(SCHEMAS[name].names).cast(SCHEMAS[name])
    kept.validate(full=True)
    return kept if (steps <= limit).all() else kept.filter(pa.array(steps <= limit))


def _described(name: str) -> bytes:
    return SCHEMAS[name].serialize().to_pybytes()


def block_of(table: pa.Table, matrices: int) -> Block:
    """Return the records of a spectra table.

    Raises:
        ValueError: its columns do not fit each other.
    """
    records = table.num_rows
    stored = _flat(table["ranks"]).astype(np.int64)
    if len(stored) != records * matrices:
        raise ValueError(f"{len(stored)} ranks for {records} records of {matrices} matrices")
    values = _flat(table["singular_values"])
    if stored.sum() != len(values):
        raise ValueError(f"{len(values)} singular values for a total rank of {stored.sum()}")
    stored = stored.reshape(records, matrices)
    has_true, true_values = _beside(table, "true_singular_values", stored)
    has_gates, gates = _beside(table, "gates", stored)
    if not ((gates >= 0) & (gates <= 1)).all():
        raise ValueError("a gate is not a probability")
    steps = table["step"].to_numpy().astype(np.int64)
    return Block(steps, stored, values, has_true, true_values, has_gates, gates)


def _beside(table: pa.Table, column: str, stored: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which records have a column that has one number a λ or is null, and its numbers, flat."""
    present = table[column].is_valid().to_numpy().astype(bool)
    total = int(stored[present].sum())
    values = _flat(table[column])
    if len(values) != total:
        raise ValueError(f"{len(values)} {column.replace('_', ' ')} for a total rank of {total}")
    return present, values


def _flat(column: pa.ChunkedArray) -> np.ndarray:
    # flatten() skips null lists, and follows each chunk's own offsets.
    parts = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    empty = np.empty(0, column.type.value_type.to_pandas_dtype())
    return np.concatenate([empty, *parts])
