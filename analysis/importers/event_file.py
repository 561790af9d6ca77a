"""TensorBoard event files: find them, check them, read their scalars. TensorFlow is never imported."""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from analysis.importers.errors import LogImportError

FILE_MARK = "tfevents"
MAX_BYTES = 256 << 20
"""The reader checks each byte in Python, about 10 MB a second. A run of AdaLoRA takes a few megabytes."""
MAX_FILES = 1_000
MAX_SEEN = 20_000
MAX_TAGS = 100_000
MAX_POINTS = 5_000_000

_VERSION = b"brain.Event:"
_INSTALL = "TensorBoard logs need the package tensorboard: pip install -r requirements.txt."
# DT_FLOAT and DT_DOUBLE of tensorflow/core/framework/types.proto: where a scalar summary keeps its number.
_TENSORS = {1: ("float_val", "<f"), 2: ("double_val", "<d")}


def begins_like_events(file: Path) -> bool:
    """Tell whether a file begins with the version record that every event file has."""
    with file.open("rb") as handle:
        return _VERSION in handle.read(64)


def event_files(folder: Path) -> list[Path]:
    """Return the event files in a folder in the order of their names, which begin with their time; else those below it.

    Raises:
        LogImportError: too many of them, or too much to look through.
    """
    found = sorted(file for file in folder.glob(f"*{FILE_MARK}*") if file.is_file())
    if not found:
        found = sorted(file for file in _below(folder) if FILE_MARK in file.name and file.is_file())
    if len(found) > MAX_FILES:
        raise LogImportError(f"{folder} holds {len(found)} event files; at most {MAX_FILES} are read. Give one run.")
    return found


def _below(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder, without following links: a disk is not searched for a log."""
    seen = 0
    for place, folders, files in os.walk(folder):
        seen += len(folders) + len(files)
        if seen > MAX_SEEN:
            raise LogImportError(f"{folder} holds more than {MAX_SEEN:,} files. Give the folder of one run.")
        yield from (Path(place) / name for name in files)


def scalars_of(file: Path, notices: list[str]) -> Iterator[tuple[int, str, float]]:
    """Yield (step, tag, value) of each scalar in the order written; what else is in the file is passed over.

    The file is one as every ``SummaryWriter`` writes it. Where it is cut or damaged, ``notices`` gets a line, and its
    records up to there are read.

    Raises:
        LogImportError: not an event file, too large, or the package ``tensorboard`` is not installed.
    """
    tags: set[str] = set()
    points = 0
    for event in _events(file, notices):
        for value in event.summary.value:
            number = _number(value)
            if number is None:
                continue
            points += 1
            tags.add(value.tag)
            if points > MAX_POINTS or len(tags) > MAX_TAGS:
                raise LogImportError(
                    f"{file.name} holds more than {MAX_POINTS:,} values or {MAX_TAGS:,} tags. Is it of one run?"
                )
            yield event.step, value.tag, number


def _events(file: Path, notices: list[str]) -> Iterator[Any]:
    size = file.stat().st_size
    if size > MAX_BYTES:
        raise LogImportError(f"{file.name} has {size >> 20} MiB; at most {MAX_BYTES >> 20} MiB are read.")
    if not size:
        raise LogImportError(f"{file.name} is empty: nothing was logged, or not yet flushed.")
    try:
        # TensorBoard's own fallback reader: its usual loaders would import TensorFlow where that is installed.
        from google.protobuf.message import DecodeError
        from tensorboard.compat.proto import event_pb2
        from tensorboard.compat.tensorflow_stub import errors
        from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import PyRecordReader_New
    except ImportError as error:
        raise LogImportError(f"{_INSTALL} ({error})") from error
    reader, read = PyRecordReader_New(str(file.resolve())), 0
    while True:
        try:
            reader.GetNext()
            event = event_pb2.Event.FromString(reader.record())  # pyright: ignore[reportAttributeAccessIssue]
        except errors.OutOfRangeError:
            return
        # A length that was forged asks for more memory than there is.
        except (errors.OpError, DecodeError, MemoryError, OverflowError) as error:
            if not read:
                raise LogImportError(
                    f"{file.name} holds no TensorBoard events: its first record is damaged."
                ) from error
            notices.append(f"{file.name} is cut or damaged after record {read}: the rest of it is left out.")
            return
        read += 1
        yield event


def _number(value: Any) -> float | None:
    """Return the number of a scalar summary, old style or new; None for a text, picture, histogram or the like."""
    kind = value.WhichOneof("value")
    if kind == "simple_value":
        return float(value.simple_value)
    if kind != "tensor" or value.tensor.dtype not in _TENSORS:
        return None
    field, code = _TENSORS[value.tensor.dtype]
    if math.prod(dim.size for dim in value.tensor.tensor_shape.dim) != 1:
        return None
    numbers, content = getattr(value.tensor, field), value.tensor.tensor_content
    if len(numbers) == 1:
        return float(numbers[0])
    return struct.unpack(code, content)[0] if len(content) == struct.calcsize(code) else None
