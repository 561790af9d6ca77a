"""The run log's format: file names, schemas, checksums. docs/run-log.md describes it for outsiders."""

from __future__ import annotations

import io
import json
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

SCHEMA_VERSION = 1
HEADER = "run.json"
SCALARS = "scalars.arrows"
SPECTRA = "spectra.arrows"
LINES = "events.jsonl"
CHECKSUMS = "crc.jsonl"
HEARTBEAT = "heartbeat.json"
STALE_S = 10.0
"""A heartbeat older than this belongs to a process that is gone."""

STEP_FIELDS = (
    "task_loss",
    "regularizer",
    "loss",
    "learning_rate",
    "budget",
    "samples_per_s",
    "step_s",
    "memory_bytes",
)

SCALAR_SCHEMA = pa.schema([("step", pa.int64()), *((name, pa.float64()) for name in STEP_FIELDS)])
SPECTRUM_SCHEMA = pa.schema(
    [
        ("step", pa.int64()),
        ("ranks", pa.list_(pa.uint16())),
        ("singular_values", pa.list_(pa.float32())),
        ("true_singular_values", pa.list_(pa.float32())),
    ]
)
SCHEMAS = {SCALARS: SCALAR_SCHEMA, SPECTRA: SPECTRUM_SCHEMA}


class RunLogError(Exception):
    """A run log cannot be read or written; the message is one line for a person."""


@dataclass(frozen=True)
class Chunk:
    """One line of ``crc.jsonl``: what stands where, and its checksum.

    Attributes:
        file: name of the file that holds the bytes.
        segment: 0 for the first start of the run, one more for each resume.
        kind: ``schema``, ``batch`` (Arrow) or ``lines`` (JSON).
        offset: first byte.
        length: number of bytes.
        crc32: CRC-32 of these bytes.
        first_step: smallest step within; for a schema, the step the segment goes on from.
        last_step: largest step within.
    """

    file: str
    segment: int
    kind: str
    offset: int
    length: int
    crc32: int
    first_step: int | None
    last_step: int | None

    def line(self) -> bytes:
        """Return the line with its own checksum."""
        values = asdict(self)
        return json.dumps({**values, "line_crc32": checksum(canonical(values))}).encode() + b"\n"

    @classmethod
    def parse(cls, line: bytes) -> Chunk | None:
        """Return the chunk a line stands for, or None when the line is not intact."""
        try:
            values = json.loads(line)
            own = values.pop("line_crc32")
            chunk = cls(**values)
        except (ValueError, TypeError, KeyError, AttributeError):
            return None
        return chunk if own == checksum(canonical(values)) else None


def checksum(data: bytes) -> int:
    """Return the CRC-32 of some bytes."""
    return zlib.crc32(data)


def canonical(value: Any) -> bytes:
    """Return JSON bytes that do not depend on key order or spacing."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def write_header(folder: Path, header: dict[str, Any]) -> None:
    """Replace ``run.json`` atomically."""
    text = json.dumps({"crc32": checksum(canonical(header)), "header": header}, indent=1, allow_nan=False)
    temporary = folder / (HEADER + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(folder / HEADER)


def read_header(folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Return the header and notices about it.

    Raises:
        RunLogError: not a run folder, no readable header, or a schema from the future.
    """
    if not folder.exists():
        raise RunLogError(f"{folder} does not exist. Give the folder of a run: the one that holds {HEADER}.")
    if not folder.is_dir():
        raise RunLogError(f"{folder} is a file. Give the folder of a run: the one that holds {HEADER}.")
    try:
        document = json.loads((folder / HEADER).read_text(encoding="utf-8"))
        header = document["header"]
        schema, matrices = header["schema"], header["matrices"]
        names = [matrix["name"] for matrix in matrices]
    except FileNotFoundError:
        raise RunLogError(f"{folder} is not a run: it has no {HEADER}.") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunLogError(
            f"{folder / HEADER} is damaged or not a run header ({type(error).__name__}). "
            "Without it the matrices are unknown; restore the file from a copy."
        ) from None
    if not isinstance(schema, int) or schema > SCHEMA_VERSION:
        raise RunLogError(f"{folder} has schema {schema}, this version reads {SCHEMA_VERSION}: update flexlora-lab.")
    if not names or len(set(names)) != len(names):
        raise RunLogError(f"{folder / HEADER} names no matrices, or one of them twice.")
    intact = document.get("crc32") == checksum(canonical(header))
    return header, [] if intact else [f"{HEADER} was edited or damaged: its checksum differs."]


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
