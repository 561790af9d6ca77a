"""Import a log: name it or upload it, correct its map, make it a run."""

from __future__ import annotations

from typing import Any

import streamlit as st

from analysis.importers import IMPORTERS, Imported, detect_kind, propose_mapping
from analysis.importers.mapping import Row
from flexlora.run_log import RunLogError
from runs.actions import choose
from runs.folders import ALLOWED, free_name, import_run
from runs.import_map import map_editor
from runs.import_source import LogSource, ask_log, forget
from runs.store import plain, runs_root

RANKS_ONLY = ("rank_log_csv", "adalora_tensorboard")
"""Kinds whose map is a guess; those of the Lab bring their own."""

SHOWN_NOTICES = 5
# A FlexLoRAError is a ValueError, and so is a path with characters that no file system takes.
FAULTS = (OSError, ValueError, RunLogError)


def import_panel() -> str | None:
    """Draw the panel; return the key of the run that is to be opened in Explore, once its button is pressed."""
    state = st.session_state
    version = state.setdefault("runs_import_version", 0)
    opened = _say_imported(state.get("runs_imported"))
    source: LogSource | None = None
    try:
        source = ask_log(version)
        if source is None:
            forget()
            titles = "; ".join(importer.title for importer in IMPORTERS.values())
            st.caption(f"What can be imported: {titles}. The kind is found from the content; nothing in it is run.")
            return opened
        kind, rows = _proposal(source)
        if _import(source, kind, rows):
            st.rerun()
    except FAULTS as error:
        message = str(error) if source is None else source.told(str(error))
        st.error(f"**Not imported.** {plain(message)}", icon=":material/error:")
    return opened


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
        rows = map_editor(proposed, source.ident, fixed_names=kind not in RANKS_ONLY)
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


def _say_imported(done: Imported | None) -> str | None:
    if done is None or not done.folder.is_dir():
        return None
    with st.container(horizontal=True, vertical_alignment="center"):
        st.success(
            f"**{plain(done.folder.name)}** is imported: {done.matrices} matrices, {done.records} records.",
            icon=":material/check:",
        )
        pressed = st.button("Open it in Explore", key="runs_imported_explore", icon=":material/explore:")
    for notice in done.notices[:SHOWN_NOTICES]:
        st.info(plain(notice), icon=":material/info:")
    if len(done.notices) > SHOWN_NOTICES:
        st.caption(f"and {len(done.notices) - SHOWN_NOTICES} more notes, which Explore shows")
    return f"runs/{done.folder.name}" if pressed else None
