"""Which matrix a column or tag of a foreign log stands for: proposed from its name, corrected by the caller."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from analysis.importers.errors import LogImportError
from analysis.outside import listed, shown
from flexlora.matrix_names import describe_matrix

Row: TypeAlias = dict[str, Any]

FIELDS = ("source", "name", "layer", "module_type", "in_features", "out_features")
"""Keys of a row: ``source`` is the name in the log and stays as it is; every other one may be corrected."""

# Wrappers of a model, and the parameter that holds λ in AdaLoRA's loralib, the released FlexLoRA code and PEFT.
_PREFIXES = ("module.", "base_model.model.")
_SUFFIXES = (".lora_E.default", ".lora_E")


def proposed_rows(sources: Sequence[str]) -> list[Row]:
    """Return a row a matrix, in the log's order: its name without wrappers and ``lora_E``, layer and module type.

    ``in_features`` and ``out_features`` are None, unknown: a log of ranks does not hold them.
    """
    names = list(sources)
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in names):
            names = [name.removeprefix(prefix) for name in names]
    for suffix in _SUFFIXES:
        names = [name.removesuffix(suffix) if len(name) > len(suffix) else name for name in names]
    if len(set(names)) != len(names):
        names = list(sources)
    return [_row(source, name) for source, name in zip(sources, names, strict=True)]


def corrected_rows(proposed: Sequence[Row], mapping: Iterable[Mapping[str, Any]] | None) -> list[Row]:
    """Return the proposed rows with what a caller's rows say instead.

    Args:
        proposed: one row a matrix.
        mapping: rows with ``source`` and any of the other ``FIELDS``; a matrix without a row, and a field that a row
            lacks, stay as proposed. None = no correction.

    Raises:
        LogImportError: a row for something that the log does not have, twice the same name, or a value of no use.
    """
    rows = {row["source"]: dict(row) for row in proposed}
    seen = set()
    if mapping is not None and (isinstance(mapping, Mapping | str | bytes) or not isinstance(mapping, Iterable)):
        raise LogImportError(f"The mapping is {shown(mapping)}; a list of rows is needed, as propose_mapping gives it.")
    for number, given in enumerate(mapping or (), 1):
        where = f"Row {number} of the mapping"
        if not isinstance(given, Mapping):
            raise LogImportError(f"{where} is {shown(given)}; each row has the keys {', '.join(FIELDS)}.")
        source = given.get("source")
        if not isinstance(source, str) or source not in rows:
            raise LogImportError(f"{where} has source {shown(source)}; the log has {listed(list(rows))}.")
        if source in seen:
            raise LogImportError(f"{where} names {shown(source)} a second time. Leave one row for each.")
        seen.add(source)
        unknown = [str(key) for key in given if key not in FIELDS]
        if unknown:
            raise LogImportError(f"{where} has the key {shown(unknown[0])}. Choose from: {', '.join(FIELDS)}.")
        rows[source] |= {key: _checked(key, value, where) for key, value in given.items() if key != "source"}
    names = [row["name"] for row in rows.values()]
    twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if twice is not None:
        raise LogImportError(f"The mapping gives two matrices the name {shown(twice)}. Each needs a name of its own.")
    return list(rows.values())


def matrix_table(rows: Sequence[Row]) -> list[Row]:
    """Return ``header["matrices"]`` of a run log."""
    return [{key: row[key] for key in FIELDS if key != "source"} for row in rows]


def _row(source: str, name: str) -> Row:
    layer, module_type = describe_matrix(name)
    return {
        "source": source,
        "name": name,
        "layer": layer,
        "module_type": module_type,
        "in_features": None,
        "out_features": None,
    }


def _checked(key: str, value: Any, where: str) -> Any:
    if key in ("name", "module_type"):
        if isinstance(value, str) and value.strip() and value.isprintable():
            return value.strip()
        raise LogImportError(f"{where} has {key} {shown(value)}; text of printable characters is needed.")
    # A table that was edited on a page has NaN for an empty cell, and 3.0 for 3 beside one.
    if value is None or value != value:
        return None
    least = 0 if key == "layer" else 1
    whole = isinstance(value, int | float) or hasattr(value, "__index__")
    if not whole or isinstance(value, bool) or not least <= value < 1 << 31 or value != int(value):
        raise LogImportError(
            f"{where} has {key} {shown(value)}; a whole number from {least} on, or nothing, is needed."
        )
    return int(value)
