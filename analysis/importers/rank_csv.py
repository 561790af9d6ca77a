"""The ``rank_log.csv`` of the released FlexLoRA code.

Producer: ``RankAllocator.mask_to_target_rank`` in loralib/loralib/flexlora.py, github.com/Chongjie-Si/Subspace-Tuning,
commit 2c63d06, where the lines are commented out. A first row ``step`` and the names of the parameters ``...lora_E``,
by layer; then a row for each event: its step, and the rank of every matrix *after* it. λ is not logged.
"""

from __future__ import annotations

import csv
import io
from bisect import bisect_left
from pathlib import Path

import numpy as np

from analysis.importers.errors import LogImportError
from analysis.importers.history import MAX_RANK, MAX_STEP, RankHistory, rank
from analysis.outside import listed, shown

NAME = "rank_log.csv"
FORMAT = "It begins with a line step,<matrix>,<matrix>,... and has one line of whole numbers for each event."
MAX_BYTES = 32 << 20
"""Two thousand events of 560 matrices take 4 MB."""


def is_rank_log(path: Path) -> bool:
    """Tell whether a file is a rank log, by name or first line; a folder, whether it holds one by name."""
    if path.is_dir():
        return (path / NAME).is_file()
    with path.open("rb") as file:
        start = file.read(16).removeprefix(b"\xef\xbb\xbf")
    return path.name == NAME or start.startswith((b"step,", b'"step",'))


def read_rank_log(path: Path) -> RankHistory:
    """Read a rank log.

    A last line that was cut is left out, and told. Where steps go back, training was resumed or begun anew in the same
    folder: earlier lines from that step on are void, and told.

    Raises:
        LogImportError: no rank log, with the line that is at fault.
    """
    file = path / NAME if path.is_dir() else path
    text = _text(file)
    notices: list[str] = []
    # The producer ends every line; one without an end was cut, perhaps within a number.
    whole, _, torn = text.rpartition("\n")
    lines = csv.reader(io.StringIO(f"{whole}\n", newline=""), strict=True)
    try:
        rows = [(lines.line_num, row) for row in lines if row]
    except csv.Error as error:
        raise LogImportError(f"{file.name} line {lines.line_num} is no CSV: {error}. {FORMAT}") from error
    if not rows:
        raise LogImportError(f"{file.name} has no complete line. {FORMAT}")
    names = _names(file, rows[0][1])
    if torn:
        notices.append(f"The last line of {file.name} has no end, it was cut: left out.")
    steps, ranks = _table(file, names, rows[1:], notices)
    if not steps:
        raise LogImportError(f"{file.name} holds no complete event, only the names of {len(names)} matrices. {FORMAT}")
    return RankHistory(
        "flexlora", [file], names, np.array(steps, np.int64), np.stack(ranks).astype(np.int64), True, notices=notices
    )


def _text(file: Path) -> str:
    size = file.stat().st_size
    if size > MAX_BYTES:
        raise LogImportError(f"{file.name} has {size >> 20} MiB; at most {MAX_BYTES >> 20} MiB are read. Is it a log?")
    if not size:
        raise LogImportError(f"{file.name} is empty. {FORMAT}")
    data = file.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LogImportError(f"{file.name} is no text: byte {error.start} is not UTF-8. {FORMAT}") from error
    if "\0" in text:
        raise LogImportError(f"{file.name} is no text: byte {data.index(0)} is 0. {FORMAT}")
    return text


def _names(file: Path, header: list[str]) -> list[str]:
    first, *names = (name.strip() for name in header)
    if first != "step" or not names:
        raise LogImportError(f"{file.name} has the columns {listed([first, *names])}. {FORMAT}")
    bad = next((name for name in names if not name or not name.isprintable()), None)
    if bad is not None:
        raise LogImportError(f"{file.name} has a column named {shown(bad)}; printable names are needed.")
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise LogImportError(f"{file.name} has the column {shown(twice)} twice. Each matrix has one.")
    return names


def _table(
    file: Path, names: list[str], rows: list[tuple[int, list[str]]], notices: list[str]
) -> tuple[list[int], list[np.ndarray]]:
    """Return steps, ascending, and the ranks of each."""
    steps: list[int] = []
    ranks: list[np.ndarray] = []
    header = ["step", *names]
    for number, row in rows:
        where = f"{file.name} line {number}"
        if [field.strip() for field in row] == header:
            notices.append(f"{where} repeats the names: a log was appended to this one.")
            continue
        if len(row) != len(header):
            raise LogImportError(f"{where} has {len(row)} columns, the first line {len(header)}. It was edited or cut.")
        numbers = [rank(field) for field in row]
        for column, (value, field) in enumerate(zip(numbers, row, strict=True)):
            most = MAX_RANK if column else MAX_STEP
            if value is None or value > most:
                what = f"rank of {shown(names[column - 1])}" if column else "step"
                raise LogImportError(
                    f"{where} has {shown(field)} as {what}; a whole number from 0 to {most} is needed."
                )
        step, *found = (int(value) for value in numbers if value is not None)
        void = len(steps) - bisect_left(steps, step)
        if void:
            notices.append(
                f"{where} goes back to step {step}: resumed or begun anew there, so {void} earlier lines are left out."
            )
            del steps[-void:], ranks[-void:]
        steps.append(step)
        ranks.append(np.array(found, np.uint16))
    return steps, ranks
