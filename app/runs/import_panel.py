"""Import a log: name it or upload it, correct its map, make it a run."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from analysis.importers import (
    IMPORTERS,
    PATTERN_HELP,
    Imported,
    LogImportError,
    detect_kind,
    propose_mapping,
    rows_by_pattern,
    rows_by_type,
    type_table,
)
from analysis.importers.mapping import Row
from links import explore
from runs.actions import FAULTS, choose
from runs.folders import ALLOWED, free_name, import_run
from runs.import_source import LogSource, ask_log, forget
from runs.store import plain, runs_root

RANKS_ONLY = ("rank_log_csv", "adalora_tensorboard")
"""Kinds whose map is a guess; those of the Lab bring their own."""

SHOWN_NOTICES = 5
HEIGHT = 248
ORDER = ("source", "layer", "module_type", "in_features", "out_features", "name")
SHAPES = {
    "module_type": st.column_config.TextColumn("module type", required=True, width=110),
    "in_features": st.column_config.NumberColumn("in", min_value=1, step=1, help="Columns of the weight matrix"),
    "out_features": st.column_config.NumberColumn("out", min_value=1, step=1, help="Rows of the weight matrix"),
}


def import_panel() -> None:
    """Draw the panel."""
    state = st.session_state
    version = state.setdefault("runs_import_version", 0)
    _say_imported(state.get("runs_imported"))
    source: LogSource | None = None
    try:
        source = ask_log(version)
        if source is None:
            forget()
            titles = "; ".join(importer.title for importer in IMPORTERS.values())
            st.caption(f"What can be imported: {titles}. The kind is found from the content; nothing in it is run.")
            return
        kind, rows = _proposal(source)
        if _import(source, kind, rows):
            st.rerun()
    except FAULTS as error:
        message = str(error) if source is None else source.told(str(error))
        st.error(f"**Not imported.** {plain(message)}", icon=":material/error:")


def _proposal(source: LogSource) -> tuple[str, list[Row]]:
    """Find kind and map once for as long as the log stays the same: reading event files takes a while."""
    kept: tuple[Any, str, list[Row]] | None = st.session_state.get("runs_proposal")
    if kept is None or kept[0] != source.ident:
        with st.spinner("Reading the log …"):
            kept = (source.ident, detect_kind(source.path), propose_mapping(source.path))
        st.session_state["runs_proposal"] = kept
    return kept[1], kept[2]


def _import(source: LogSource, kind: str, proposed: list[Row]) -> bool:
    """Draw map, name and button; return True when a run was made."""
    st.markdown(f"This is **{plain(IMPORTERS[kind].title)}**: {len(proposed)} matrices.")
    rows: list[Row] | None = None
    correct = st.toggle("Correct which matrix is which", value=kind in RANKS_ONLY, key=f"runs_correct_{kind}")
    if correct:
        rows = _map_editor(proposed, source.ident, fixed_names=kind not in RANKS_ONLY)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.text_input(
            "Name of the run",
            free_name(runs_root(), source.label),
            key=f"runs_import_name_{abs(hash(source.ident))}",
            help=ALLOWED,
            width=320,
        )
        pressed = st.button("Import", key="runs_import", type="primary", icon=":material/download:")
    if not pressed:
        return False
    with st.spinner("Importing …"):
        done = import_run(runs_root(), source.path, name, rows)
    forget()
    state = st.session_state
    state["runs_imported"] = done
    choose(done.folder)
    state["runs_import_version"] += 1
    state.pop("runs_proposal", None)
    return True


def _say_imported(done: Imported | None) -> None:
    if done is None or not done.folder.is_dir():
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.success(
            f"**{plain(done.folder.name)}** is imported: {done.matrices} matrices, {done.records} records.",
            icon=":material/check:",
        )
        if st.button("Open it in Explore", key="runs_imported_explore", icon=":material/explore:"):
            explore(f"runs/{done.folder.name}")
    for notice in done.notices[:SHOWN_NOTICES]:
        st.info(plain(notice), icon=":material/info:")
    if len(done.notices) > SHOWN_NOTICES:
        st.caption(f"and {len(done.notices) - SHOWN_NOTICES} more notes, which Explore shows")


def _map_editor(proposed: Sequence[Row], ident: object, *, fixed_names: bool) -> list[Row]:
    """Draw the map that a log's names tell and return its rows as corrected; names that its records use are fixed.

    Each correction works on what those above it gave, and changing one of them begins the tables below it anew.
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
    return rows_by_type(
        rows,
        _edited(
            type_table(rows),
            f"runs_types_{_key(ident)}",
            "Module types of the log, to be corrected",
            {
                "found": st.column_config.TextColumn("found", width=80),
                "matrices": st.column_config.NumberColumn("of", width=40, help="How many matrices"),
            },
            numbers=("matrices", "in_features", "out_features"),
            disabled=("found", "matrices"),
        ),
    )


def _one_by_one(rows: list[Row], *, fixed_names: bool) -> list[Row]:
    return _edited(
        rows,
        f"runs_rows_{_key(rows)}",
        "Matrices of the log, to be corrected",
        {
            "source": st.column_config.TextColumn("name in the log", width="medium"),
            "name": st.column_config.TextColumn("name", required=True),
            "layer": st.column_config.NumberColumn("layer", min_value=0, step=1, width=60),
        },
        numbers=("layer", "in_features", "out_features"),
        disabled=("source", "name") if fixed_names else ("source",),
        column_order=[key for key in ORDER if not (fixed_names and key == "name")],
    )


def _edited(
    rows: Sequence[Row], key: str, alt: str, columns: dict[str, Any], *, numbers: Sequence[str], **more: Any
) -> list[dict[str, Any]]:
    # Without a type of its own a column of unknown numbers would be one of texts.
    table = pd.DataFrame(list(rows)).astype(dict.fromkeys(numbers, "Int64"))
    columns = {**SHAPES, **columns}
    more |= {"hide_index": True, "placeholder": "?", "height": HEIGHT}
    table = st.data_editor(table, key=key, column_config=columns, alt=alt, **more)
    return table.astype(object).where(table.notna(), None).to_dict("records")


def _key(ident: object) -> int:
    """Number a thing that a widget depends on, so that another thing gets a fresh widget."""
    return zlib.crc32(repr(ident).encode("utf-8", "backslashreplace"))
