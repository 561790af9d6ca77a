"""Corrections of a proposed mapping, many rows at once: by a pattern of the names, or by module type."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from analysis.importers.errors import LogImportError
from analysis.importers.mapping import Row
from analysis.outside import shown

LAYER, TYPE = "{layer}", "{type}"
PATTERN_HELP = (
    f"Text as it stands in the names, with {LAYER} where the number of the layer is and {TYPE} where the module type "
    f"is: blocks_{LAYER}_{TYPE}.lora_E"
)
SHAPES = ("in_features", "out_features")


def rows_by_pattern(rows: Sequence[Row], pattern: str) -> tuple[list[Row], int]:
    """Read layer and module type from the names by a pattern.

    Args:
        rows: of a mapping.
        pattern: plain text that is found anywhere in ``source``, with ``{layer}`` (digits) or ``{type}`` (up to the
            text after it, else up to the next dot), each at most once.

    Returns:
        The rows, changed where the pattern was found, and how many those are.

    Raises:
        LogImportError: a pattern without a placeholder, with one twice, or with another in braces.
    """
    parts = re.split(r"(\{[^{}]*\})", pattern)
    marks = parts[1::2]
    strange = next((mark for mark in marks if mark not in (LAYER, TYPE)), None)
    if strange is not None or not marks or len(set(marks)) < len(marks):
        raise LogImportError(f"The pattern {shown(pattern)} cannot be used. {PATTERN_HELP}")
    groups = {LAYER: r"(?P<layer>[0-9]{1,6})", TYPE: r"(?P<type>[^.]+?)"}
    text = "".join(groups.get(part) or re.escape(part) for part in parts)
    if parts[-1] == "" and marks[-1] == TYPE:
        text += r"(?=\.|$)"
    found = [(row, re.search(text, row["source"])) for row in rows]
    return [_read(row, match) for row, match in found], sum(match is not None for _, match in found)


def type_table(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return a row for each module type, in the order of the log.

    Returns:
        Rows with ``found`` (the type as proposed), ``matrices`` (how many), ``module_type`` (to be corrected), and
        ``in_features`` and ``out_features`` where all its matrices agree on them, else None.
    """
    table = []
    for kind in dict.fromkeys(row["module_type"] for row in rows):
        own = [row for row in rows if row["module_type"] == kind]
        shapes = {key: {row[key] for row in own} for key in SHAPES}
        common = {key: values.pop() if len(values) == 1 else None for key, values in shapes.items()}
        table.append({"found": kind, "matrices": len(own), "module_type": kind, **common})
    return table


def rows_by_type(rows: Sequence[Row], table: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Return the rows with what an edited ``type_table`` says of their types; an empty cell changes nothing."""
    changes = {}
    for line in table:
        # An edited table has NaN for an empty cell.
        given = {key: line[key] for key in ("module_type", *SHAPES) if line[key] == line[key]}
        changes[line["found"]] = {key: value for key, value in given.items() if value not in (None, "")}
    return [{**row, **changes.get(row["module_type"], {})} for row in rows]


def _read(row: Row, match: re.Match[str] | None) -> Row:
    if match is None:
        return row
    found = match.groupdict()
    layer, kind = found.get("layer"), found.get("type")
    return {**row, **({"layer": int(layer)} if layer else {}), **({"module_type": kind} if kind else {})}
