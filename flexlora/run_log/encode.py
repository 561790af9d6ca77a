"""Records as bytes: Arrow record batches and JSON lines."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

from flexlora.run_log.format import SCALAR_SCHEMA, SPECTRUM_SCHEMA

END_OF_STREAM = bytes.fromhex("ffffffff00000000")
"""Arrow's own mark: a reader that knows nothing of resumes stops here instead of failing at the next schema."""

ScalarRow: TypeAlias = tuple[Any, ...]
SpectrumRow: TypeAlias = tuple[int, np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]


class ArrowEncoder:
    """Turns record batches of one segment into bytes, one chunk at a time."""

    def __init__(self, schema: pa.Schema) -> None:
        self._sink = io.BytesIO()
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        self._writer = pa.ipc.new_stream(self._sink, schema, options=options)
        self.schema_bytes = self._take()

    def encode(self, batch: pa.RecordBatch) -> bytes:
        """Return the message of one batch."""
        self._writer.write_batch(batch)
        return self._take()

    def _take(self) -> bytes:
        data = self._sink.getvalue()
        self._sink.seek(0)
        self._sink.truncate()
        return data


def scalar_batch(rows: Sequence[ScalarRow]) -> pa.RecordBatch:
    """Return the record batch of some steps: (step, then one value a field of ``STEP_FIELDS``) each."""
    columns = [
        pa.array(column, field.type) for column, field in zip(zip(*rows, strict=True), SCALAR_SCHEMA, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SCALAR_SCHEMA)


def spectrum_batch(rows: Sequence[SpectrumRow]) -> pa.RecordBatch:
    """Return the record batch of some spectra: (step, counts (M,), λ flat, σ flat or None, gates flat or None) each."""
    steps, counts, own, true, gates = zip(*rows, strict=True)
    columns = [
        pa.array(steps, pa.int64()),
        pa.ListArray.from_arrays(_offsets([len(values) for values in counts]), pa.array(np.concatenate(counts))),
        pa.ListArray.from_arrays(_offsets([len(values) for values in own]), pa.array(np.concatenate(own))),
        _nullable(true),
        _nullable(gates),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SPECTRUM_SCHEMA)


def beside(arrays: Sequence[ArrayLike] | None, counts: np.ndarray, what: str) -> np.ndarray | None:
    """Return arrays that have one number a λ as one flat array, float32; None for None.

    Raises:
        ValueError: other lengths than ``counts``; the message begins with ``what``.
    """
    if arrays is None:
        return None
    # A run that diverged is logged as it is: what float32 cannot hold is infinite.
    with np.errstate(over="ignore"):
        parts = [np.asarray(values, np.float32).reshape(-1) for values in arrays]
    if [len(values) for values in parts] != counts.tolist():
        raise ValueError(f"{what} as λ are needed in every matrix")
    return np.concatenate(parts)


def _nullable(rows: Sequence[np.ndarray | None]) -> pa.ListArray:
    found = [values for values in rows if values is not None]
    return pa.ListArray.from_arrays(
        _offsets([0 if values is None else len(values) for values in rows]),
        pa.array(np.concatenate(found) if found else np.empty(0, np.float32)),
        mask=pa.array([values is None for values in rows]),
    )


def _offsets(lengths: Sequence[int]) -> pa.Array:
    return pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))


def finite(value: float | None) -> float | None:
    """Return the number, or None for what is none."""
    return None if value is None or not math.isfinite(value) else float(value)


def json_line(record: str, fields: Mapping[str, Any]) -> bytes:
    """Return one line of ``events.jsonl``.

    Raises:
        ValueError: a field takes the name that tells the kind of the line.
    """
    if "record" in fields:
        raise ValueError('a field cannot be named "record": it tells the kind of the line')
    text = json.dumps(plain({"record": record, **fields}), allow_nan=False, ensure_ascii=False)
    # A file name that is no text holds lone surrogates; this turns them into JSON's own escapes.
    return text.encode("utf-8", "backslashreplace") + b"\n"


PLAIN = frozenset((str, int, bool, type(None)))


def plain(value: Any) -> Any:
    """Return JSON values: numpy unpacked, tuples as lists, non-finite numbers as null."""
    if type(value) in PLAIN:
        return value
    if type(value) is float:
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int | bool):
        return value
    return str(value)
