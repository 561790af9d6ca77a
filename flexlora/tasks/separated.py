"""Comma-, tab-, semicolon- and pipe-separated text: its delimiter, its quotes, its header, its lines. Torch-free."""

from __future__ import annotations

import csv
import io
import re
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import NamedTuple

from flexlora.tasks.source import DELIMITERS

SAMPLE = 200
"""Rows that a delimiter is judged by."""
LEFT_OUT = "-"
"""In ``columns=``: this column is not wanted."""
NAME_LETTERS = 40
"""A first line with a longer field is an example, not a header."""
_EXCEL = re.compile(r"sep=(.)(?=\r?\n)", re.IGNORECASE)
_LIMIT = threading.Lock()


class Record(NamedTuple):
    """One row: its fields, the line on which it begins, and its number among the rows that are not blank."""

    line: int
    number: int
    fields: list[str]

    @property
    def place(self) -> str:
        """Where it is, for people; fields that go over several lines make rows and lines differ."""
        return f"line {self.line}" if self.line == self.number else f"line {self.line} (row {self.number})"


class Separated(NamedTuple):
    """What a file holds: names of its columns, of which some may repeat, and its rows."""

    names: list[str]
    records: list[Record]


def read_separated(text: str, columns: Sequence[str] | None = None, delimiter: str | None = None) -> Separated:
    """Return the rows of a file.

    Args:
        text: all of it, decoded.
        columns: with a header line, which of its columns are wanted; without one, the names in order, ``-`` for a
            column to leave out. None = the first line is the header.
        delimiter: key of ``DELIMITERS``; None = found out.

    Raises:
        ValueError: a row with too few or too many columns, bad quotes, a header without any of the names.
    """
    if said := _EXCEL.match(text):
        # Excel says so in a first line, which stays as an empty one, so that lines keep their numbers.
        text = text[said.end() :]
    with _no_field_limit():
        sign = DELIMITERS.get(delimiter, delimiter) if delimiter else _delimiter(text, columns)
        quoted = sign != "\t" or _quoted_by_a_writer(text)
        records = list(_records(text, sign, quoted))
        if not records:
            return Separated([], [])
        headed = columns is None or _has_header(records, columns)
        behind = records[0].fields[1:]
        if headed and sign != "\t" and behind and all(cell.startswith(" ") for cell in behind):
            # "sentence, label": whoever writes so puts a space before every field, and quotes behind it.
            records = list(_records(text, sign, quoted, spaced=True))
    names = [cell.strip() for cell in records[0].fields] if headed else list(columns or ())
    rows = records[1:] if headed else records
    if headed and (again := next((row for row in rows if [cell.strip() for cell in row.fields] == names), None)):
        raise ValueError(f"{again.place} repeats the header. Take it out")
    _check_widths(rows, names, sign, len(records[0].fields) if headed or sign != "\t" else None)
    return Separated(names, rows)


@contextmanager
def _no_field_limit() -> Iterator[None]:
    # The csv module has one limit for the whole process.
    with _LIMIT:
        before = csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
        try:
            yield
        finally:
            csv.field_size_limit(before)


def _records(text: str, sign: str, quoted: bool, *, spaced: bool = False) -> Iterator[Record]:
    quoting = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=sign, quoting=quoting, strict=quoted, skipinitialspace=spaced
    )
    line, number = 1, 0
    while True:
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise ValueError(
                f"line {line}: bad quotes ({error}). A quote inside a quoted field is doubled, and the field ends with "
                "one"
            ) from error
        if fields is None:
            return
        if fields:
            number += 1
            yield Record(line, number, fields)
        line = reader.line_num + 1


def _delimiter(text: str, columns: Sequence[str] | None) -> str:
    """Return the sign that gives every row the columns of the first, where there is one; tab before the others.

    Raises:
        ValueError: two of the others do.
    """
    best, found = 0, ""
    for sign in DELIMITERS.values():
        try:
            widths = [len(record.fields) for record in islice(_records(text, sign, sign != "\t"), SAMPLE)]
        except ValueError:
            widths = [len(record.fields) for record in islice(_records(text, sign, False), 1)]
            widths = [*widths, 0]
        if not widths or widths[0] < 2:
            continue
        enough = max(2, len(columns)) if columns else widths[0]
        # Rows of STS-B, tab-separated, end with columns that only some have.
        fits = 3 if len(set(widths)) == 1 or (sign == "\t" and min(widths) >= enough) else 2
        fits = 1 if min(widths) < enough else fits
        if fits == best == 3 and found != "\t" and len(widths) > 1:
            raise ValueError(f"each row has a {_called(found)} and a {_called(sign)}: say which it is by delimiter=")
        if fits > best:
            best, found = fits, sign
    return found or ","


def _called(sign: str) -> str:
    return next(name for name, found in DELIMITERS.items() if found == sign)


def _quoted_by_a_writer(text: str) -> bool:
    """True when the quotes of a tab-separated file are those of a CSV writer.

    GLUE's files never quote: a quote there is a letter, and one at the beginning of a field would swallow lines. So
    quotes count only where they must: they are well formed in the whole file, and without them its rows do not fit, or
    they are doubled, or they stand around the header.
    """
    if '"' not in text:
        return False
    try:
        quoted = [len(record.fields) for record in _records(text, "\t", True)]
    except ValueError:
        return False
    plain = [record.fields for record in _records(text, "\t", False)]
    if len(set(quoted)) > 1:
        return False
    if {len(fields) for fields in plain} != {quoted[0]}:
        return True
    if any(cell[0] == cell[-1] == '"' for cell in plain[0] if len(cell) > 1):
        return True
    begun = (cell[1:] for fields in plain for cell in fields if cell.startswith('"'))
    return any('""' in rest and '"' not in rest.replace('""', "")[:-1] for rest in begun)


def _has_header(records: Sequence[Record], columns: Sequence[str]) -> bool:
    """True when the first line names one of the columns at least; False when it is an example.

    Raises:
        ValueError: it is a header that has none of the names.
    """
    first = [cell.strip() for cell in records[0].fields]
    wanted = [name for name in columns if name != LEFT_OUT]
    if any(name in first for name in wanted):
        return True
    cells = {place: cell for place, cell in enumerate(first) if cell}
    rest = [record for record in records if record.fields != records[0].fields]
    # A table without names is written with 0,1,2 above it.
    counted = len(first) > 1 and first == [str(place) for place in range(len(first))]
    if len(rest) < 2 or len(cells) < min(2, len(columns)) or not (counted or all(map(_is_name, cells.values()))):
        return False
    # An example shares its label with others; a header's name is found nowhere below.
    if not counted and any(cell == record.fields[place].strip() for record in rest for place, cell in cells.items()
           if place < len(record.fields)):  # fmt: skip
        return False
    raise ValueError(
        f"{records[0].place} is a header without {', '.join(wanted)}; it has: {', '.join(cells.values())}. "
        "columns= names some of these: texts, then the label. If it is an example, put a header line above it"
    )


def _is_name(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return len(cell) <= NAME_LETTERS
    return False


def _check_widths(rows: Sequence[Record], names: Sequence[str], sign: str, width: int | None) -> None:
    called = _called(sign)
    for record in rows:
        count = len(record.fields)
        if count < len(names):
            raise ValueError(
                f"line {record.line}: row {record.number} has fewer than {len(names)} columns ({', '.join(names)}); "
                f"it has {count}, separated by {called}"
            )
        if width is not None and count > width and any(cell.strip() for cell in record.fields[width:]):
            raise ValueError(
                f"line {record.line}: row {record.number} has {count} columns, the first line has {width}: a field "
                f"that holds a {called} stands in quotes"
            )
