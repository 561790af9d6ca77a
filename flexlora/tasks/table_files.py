"""Rows of one data file: TSV, CSV, JSON Lines, JSON or Parquet, in any encoding that says what it is. Torch-free."""

from __future__ import annotations

import codecs
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from flexlora.errors import FlexLoRAError
from flexlora.placeholders import packed, pointer_or_page
from flexlora.tasks.rows import Rows, shown
from flexlora.tasks.separated import LEFT_OUT, read_separated

SUFFIXES = (".tsv", ".csv", ".jsonl", ".json", ".parquet")
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    # UTF-32's little-endian mark begins with UTF-16's.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_file(
    path: Path, columns: Sequence[str] | None = None, delimiter: str | None = None, called: str | None = None
) -> Rows:
    """Return the rows of one file; none is left out here.

    Args:
        path: ends in one of ``SUFFIXES``; .json is a list of objects, an object of columns, or JSON Lines.
        columns: see ``read_separated``; other formats name their columns themselves.
        delimiter: see ``read_separated``.
        called: what the places of the rows begin with; None = the file's name.

    Raises:
        FlexLoRAError: it cannot be read; with the line where that is known.
    """
    called = called or path.name
    kind = path.suffix.lower()
    try:
        # Without a header line the first text may be a page.
        told = packed(path) or (pointer_or_page(path) if columns is None and path.stat().st_size else None)
        if told is not None:
            raise FlexLoRAError(f"{path} cannot be read: {told}")
        if kind == ".parquet":
            return _parquet(path, called)
        text = decoded(path.read_bytes())
        if kind in (".jsonl", ".json"):
            return _json(text, called)
        return _separated(text, columns, delimiter, called)
    except FlexLoRAError:
        raise
    except (OSError, ValueError, TypeError, ArithmeticError, LookupError, RecursionError, NotImplementedError) as error:
        said = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise FlexLoRAError(f"{path} cannot be read: {said}") from error


def decoded(content: bytes) -> str:
    """Return the text of a file: UTF-8, or what its byte order mark says.

    Raises:
        ValueError: it is neither; with the line.
    """
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"line {line} is not {encoding.removesuffix('-sig').upper()} (byte 0x{content[error.start]:02x}). Save the "
            "file as UTF-8"
        ) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ValueError(f"line {line} holds a NUL byte, as UTF-16 without its mark does. Save the file as UTF-8")
    return text


def _separated(text: str, columns: Sequence[str] | None, delimiter: str | None, called: str) -> Rows:
    names, records = read_separated(text, columns, delimiter)
    kept = {
        name: pd.Series([record.fields[place] for record in records], dtype=object)
        for place, name in enumerate(names)
        if name != LEFT_OUT
    }
    wanted = [name for name in names if name and name != LEFT_OUT]
    repeated = frozenset(name for name in wanted if wanted.count(name) > 1)
    return Rows(pd.DataFrame(kept), [f"{called}, {record.place}" for record in records], called, repeated)


def _json(text: str, called: str) -> Rows:
    begins = text.lstrip()[:1]
    if begins == "[" and (items := _one_list(text)) is not None:
        return _objects(items, called, "item")
    if begins == "{" and (whole := _columns_or_list(text)) is not None:
        return _objects(whole, called, "item") if isinstance(whole, list) else Rows(*_of_columns(whole, called), called)
    # Only these end a line: in JSON a string may hold other characters that Unicode calls line ends.
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    numbers = [number for number, line in enumerate(lines, 1) if line.strip()]
    return _objects([_parsed(lines[number - 1], number) for number in numbers], called, "line", numbers)


def _one_list(text: str) -> list[Any] | None:
    """Return what one list in the whole file holds; None where a list a line does."""
    try:
        return _parsed(text, 1)
    except ValueError as error:
        if "Extra data" in str(error):
            return None
        raise


def _columns_or_list(text: str) -> list[Any] | dict[str, list[Any]] | None:
    """Return what one object in the whole file holds: columns, or one list of rows; None for JSON Lines."""
    try:
        whole = _parsed(text, 1)
    except ValueError:
        try:
            json.loads(text.split("\n", 1)[0])
        except ValueError:
            pass
        else:
            return None
        raise
    tables = [value for value in whole.values() if isinstance(value, list) and value and isinstance(value[0], dict)]
    if len(tables) == 1 and sum(isinstance(value, list) for value in whole.values()) == 1:
        return tables[0]
    if whole and all(isinstance(value, list) for value in whole.values()):
        return whole
    if whole and all(isinstance(value, dict) for value in whole.values()):
        if len({tuple(value) for value in whole.values()}) > 1:
            raise ValueError(f"its columns {', '.join(whole)} have not the same rows")
        return {name: list(value.values()) for name, value in whole.items()}
    return None


def _of_columns(columns: dict[str, list[Any]], called: str) -> tuple[pd.DataFrame, list[str]]:
    counts = {len(values) for values in columns.values()}
    if len(counts) > 1:
        told = ", ".join(f"{name}: {len(values)}" for name, values in columns.items())
        raise ValueError(f"its columns have unequal numbers of rows ({told})")
    table = pd.DataFrame({name.strip(): pd.Series(values, dtype=object) for name, values in columns.items()})
    return table, [f"{called}, item {number}" for number in range(1, len(table) + 1)]


def _objects(items: list[Any], called: str, unit: str, numbers: Sequence[int] | None = None) -> Rows:
    numbers = numbers or range(1, len(items) + 1)
    names: dict[str, None] = {}
    rows = []
    for number, item in zip(numbers, items, strict=True):
        if not isinstance(item, dict):
            raise ValueError(f'{unit} {number} is {shown(item)}, not an object such as {{"sentence": …, "label": …}}')
        row = {name.strip(): value for name, value in item.items()}
        if len(row) < len(item):
            raise ValueError(f"{unit} {number} names a column twice: {', '.join(item)}")
        rows.append(row)
        names |= dict.fromkeys(row)
    # As objects: a column of whole numbers with a gap would become one of floats.
    table = pd.DataFrame({name: pd.Series([row.get(name) for row in rows], dtype=object) for name in names})
    return Rows(table, [f"{called}, {unit} {number}" for number in numbers], called)


def _parsed(text: str, line: int) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError(f"line {line} names a column twice: {', '.join(name for name, _ in pairs)}")
        return found

    try:
        return json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {line + error.lineno - 1}, character {error.colno}: {error.msg}") from error


def _parquet(path: Path, called: str) -> Rows:
    import pyarrow.parquet as pq

    found = pq.ParquetFile(path).read()
    names = [name.strip() for name in found.column_names]
    kept = {name: place for place, name in enumerate(names) if not name.startswith("__index_level_")}
    columns = {
        name: found.column(place).to_pandas(integer_object_nulls=True).reset_index(drop=True)
        for name, place in kept.items()
    }
    repeated = frozenset(name for name in names if names.count(name) > 1)
    table = pd.DataFrame(columns)
    return Rows(table, [f"{called}, row {number}" for number in range(1, len(table) + 1)], called, repeated)
