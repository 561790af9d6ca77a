"""The map of a log to be imported: which matrix each name stands for, corrected by pattern, by type or one by one."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from analysis.importers import PATTERN_HELP, LogImportError, rows_by_pattern, rows_by_type, type_table
from analysis.importers.mapping import Row
from runs.store import plain

HEIGHT = 248
ORDER = ("source", "layer", "module_type", "in_features", "out_features", "name")
NUMBERS = ("layer", "in_features", "out_features")
SHAPES = {
    "in_features": st.column_config.NumberColumn("in", min_value=1, step=1, help="Columns of the weight matrix"),
    "out_features": st.column_config.NumberColumn("out", min_value=1, step=1, help="Rows of the weight matrix"),
}


def map_editor(proposed: Sequence[Row], ident: object, *, fixed_names: bool) -> list[Row]:
    """Draw the map and return its rows as corrected.

    Each correction works on what those above it gave, and changing one of them begins the tables below it anew.

    Args:
        proposed: what the log's names tell.
        ident: of the log.
        fixed_names: the names must stay, because records of the log use them.
    """
    number = _key(ident)
    pattern = st.text_input(
        "Read layer and module type by a pattern of the names",
        key=f"runs_pattern_{number}",
        placeholder="blocks_{layer}_{type}.lora_E",
        help=PATTERN_HELP,
    )
    rows = _by_pattern(list(proposed), pattern)
    left, right = st.columns([0.42, 0.58])
    with left:
        st.caption("All matrices of a module type")
        rows = _by_type(rows, (number, pattern))
    with right:
        st.caption("One by one (cells can be pasted from a spreadsheet)")
        return _one_by_one(rows, fixed_names=fixed_names)


def _by_pattern(rows: list[Row], pattern: str) -> list[Row]:
    if not pattern.strip():
        return rows
    try:
        found, count = rows_by_pattern(rows, pattern.strip())
    except LogImportError as error:
        st.warning(plain(str(error)), icon=":material/info:")
        return rows
    st.caption(f"Found in {count} of {len(rows)} names.")
    return found


def _by_type(rows: list[Row], ident: object) -> list[Row]:
    table = st.data_editor(
        _frame(type_table(rows), ("matrices", "in_features", "out_features")),
        key=f"runs_types_{_key(ident)}",
        hide_index=True,
        placeholder="?",
        height=HEIGHT,
        disabled=("found", "matrices"),
        column_config={
            "found": st.column_config.TextColumn("found", width=80),
            "matrices": st.column_config.NumberColumn("of", width=40, help="How many matrices"),
            "module_type": st.column_config.TextColumn("module type", required=True, width=110),
            **SHAPES,
        },
        alt="Module types of the log, to be corrected",
    )
    return rows_by_type(rows, _records(table))


def _one_by_one(rows: list[Row], *, fixed_names: bool) -> list[Row]:
    table = st.data_editor(
        _frame(rows, NUMBERS),
        key=f"runs_rows_{_key(rows)}",
        hide_index=True,
        placeholder="?",
        height=HEIGHT,
        column_order=[key for key in ORDER if not (fixed_names and key == "name")],
        disabled=("source", "name") if fixed_names else ("source",),
        column_config={
            "source": st.column_config.TextColumn("name in the log", width="medium"),
            "name": st.column_config.TextColumn("name", required=True),
            "layer": st.column_config.NumberColumn("layer", min_value=0, step=1, width=60),
            "module_type": st.column_config.TextColumn("module type", required=True, width=110),
            **SHAPES,
        },
        alt="Matrices of the log, to be corrected",
    )
    return _records(table)


def _key(ident: object) -> int:
    """Number a thing that a widget depends on, so that another thing gets a fresh widget."""
    return zlib.crc32(repr(ident).encode("utf-8", "backslashreplace"))


def _frame(rows: Sequence[Row], numbers: Sequence[str]) -> pd.DataFrame:
    frame = pd.DataFrame(list(rows))
    # Without a type of its own a column of unknown numbers would be one of texts.
    return frame.astype(dict.fromkeys(numbers, "Int64"))


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return frame.astype(object).where(frame.notna(), None).to_dict("records")
