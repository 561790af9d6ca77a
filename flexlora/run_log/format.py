"""The run log's format: file names, schemas, checksums. docs/run-log.md describes it for outsiders."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from zlib import crc32 as checksum

import pyarrow as pa

from flexlora.run_log.disk import put_bytes

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
    "penalty",
    "target_rank",
)

SCALAR_SCHEMA = pa.schema([("step", pa.int64()), *((name, pa.float64()) for name in STEP_FIELDS)])
SPECTRUM_SCHEMA = pa.schema(
    [
        ("step", pa.int64()),
        ("ranks", pa.list_(pa.uint16())),
        ("singular_values", pa.list_(pa.float32())),
        ("true_singular_values", pa.list_(pa.float32())),
        ("gates", pa.list_(pa.float32())),
    ]
)
OPTIONAL = ("penalty", "target_rank", "gates")
"""Columns that a log may lack, as those of version 0.1 do; they are then undefined throughout."""
SCHEMAS = {SCALARS: SCALAR_SCHEMA, SPECTRA: SPECTRUM_SCHEMA}


class RunLogError(Exception):
    """A run log cannot be read or written; the message is one line for a person."""


@dataclass(frozen=True)
class Chunk:
    """One line of ``crc.jsonl``: what stands where, and its checksum.

    Attributes:
        file: name of the file that holds the bytes.
        segment: 0 for the first start of the run, one more for each resume.
        kind: ``schema``, ``batch``, ``close`` (Arrow; the mark that ends the stream of an earlier start) or ``lines``.
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
            intact = own == checksum(canonical(values)) and chunk._is_plausible()
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None
        return chunk if intact else None

    def _is_plausible(self) -> bool:
        counts = (self.segment, self.offset, self.length, self.crc32)
        steps = (self.first_step, self.last_step)
        return (
            isinstance(self.file, str)
            and isinstance(self.kind, str)
            and all(isinstance(count, int) and count >= 0 for count in counts)
            and all(step is None or isinstance(step, int) for step in steps)
        )


def canonical(value: Any) -> bytes:
    """Return JSON bytes that do not depend on key order or spacing."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def header_fault(header: Any) -> str | None:
    """Return what keeps a header from being used, as the rest of a sentence about it; None for a good one."""
    if not isinstance(header, dict):
        return "is not a JSON object"
    matrices = header.get("matrices")
    if not isinstance(matrices, list) or not all(isinstance(matrix, dict) for matrix in matrices):
        return "has no list of matrices"
    names = [matrix.get("name") for matrix in matrices]
    if not names or not all(isinstance(name, str) for name in names) or len(set(names)) != len(names):
        return "names no matrices, or one of them twice"
    for matrix in matrices:
        numbers = [matrix.get(key) for key in ("layer", "in_features", "out_features")]
        if not all(isinstance(number, int | None) for number in numbers):
            return f"says of {matrix['name']!r}: layer, in_features and out_features {numbers}; they are whole numbers"
        if not isinstance(matrix.get("module_type"), str | None):
            return f"gives {matrix['name']!r} a module_type that is no text"
    if not isinstance(header.get("method"), str | None):
        return "names a method that is no text"
    return None if isinstance(header.get("config", {}), dict) else "has a config that is not a JSON object"


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever keeps the records below ``path`` from being read into a ``RunLogError``."""
    try:
        yield
    except OSError as error:
        raise RunLogError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (pa.ArrowException, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        told = " ".join(str(error).split())
        raise RunLogError(f"{path} does not hold the records its checksums promise: {told}") from error


def write_header(folder: Path, header: dict[str, Any]) -> None:
    """Replace ``run.json`` atomically, and for good: the disk is asked to keep it."""
    text = json.dumps({"crc32": checksum(canonical(header)), "header": header}, indent=1, allow_nan=False)
    put_bytes(folder / HEADER, text.encode(), durable=True)


def read_header(folder: str | Path) -> tuple[dict[str, Any], list[str]]:
    """Return the header and notices about it.

    Raises:
        RunLogError: not a run folder, no readable header, or a schema from the future.
    """
    folder = Path(folder)
    if not folder.exists():
        raise RunLogError(f"{folder} does not exist. Give the folder of a run: the one that holds {HEADER}.")
    if not folder.is_dir():
        raise RunLogError(f"{folder} is a file. Give the folder of a run: the one that holds {HEADER}.")
    try:
        document = json.loads((folder / HEADER).read_text(encoding="utf-8"))
        header = document["header"]
        schema = header["schema"]
        intact = document.get("crc32") == checksum(canonical(header))
    except FileNotFoundError:
        raise RunLogError(f"{folder} is not a run: it has no {HEADER}.") from None
    except OSError as error:
        raise RunLogError(f"{folder / HEADER} cannot be read: {error.strerror or error}.") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(folder, f"reading it gives {type(error).__name__}") from None
    if not isinstance(schema, int) or schema > SCHEMA_VERSION:
        raise RunLogError(f"{folder} has schema {schema}, this version reads {SCHEMA_VERSION}: update flexlora-lab.")
    fault = header_fault(header)
    if fault is not None:
        raise _damaged(folder, f"it {fault}")
    return header, [] if intact else [f"{HEADER} was edited or damaged: its checksum differs."]


def _damaged(folder: Path, why: str) -> RunLogError:
    return RunLogError(
        f"{folder / HEADER} is damaged or not a run header: {why}. "
        "Without it the matrices are unknown; restore the file from a copy."
    )
