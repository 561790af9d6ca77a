"""Runs: the library. Find a run, open it, rename it, throw it away and fetch it back; import logs from elsewhere."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import streamlit as st

from compare.studies import study_entries
from jobs.line import line_caption
from jobs.registry import REGISTRY
from jobs.visitor import visitor
from links import compare, compare_runs, explore, go
from runs.actions import (
    CONFIRM,
    DONE,
    SELECTED,
    SELECTIONS_MADE,
    Done,
    ask_to_delete,
    delete_runs,
    duplicate_run,
    rename_run,
    restore_run,
    trash_run,
)
from runs.folders import ALLOWED, TRASH, Trashed, in_trash, pack, why_not_movable
from runs.import_panel import import_panel
from runs.notes_panel import notes_panel, told_notes
from runs.rows import DAMAGED, OTHERS, WHERE, RunRow, columns, describe_row, read_rows, search, size_text
from runs.store import plain, run_entries, runs_root
from widgets import act, download

TABLE_ROWS = 11
ROW_HEIGHT = 35
SHOWN_TRASH = 20
SHOWN_STUDIES = 6
DELETE = ":material/delete_forever:"

COLUMNS = {
    "name": st.column_config.TextColumn("name", pinned=True, width="medium"),
    "where": st.column_config.TextColumn("where", width=80, help="Bundled runs cannot be changed"),
    "state": st.column_config.TextColumn("state", width=95, help="⚠ something of its log is missing"),
    "tags": st.column_config.TextColumn("tags", width=110, help="What its owner calls it"),
    "method": st.column_config.TextColumn("method", width=100),
    "preset": st.column_config.TextColumn("preset", width=80),
    "task": st.column_config.TextColumn("task", width=75),
    "seed": st.column_config.NumberColumn("seed", width=60),
    "importance": st.column_config.TextColumn("importance", width=125, help="The measure that decides at events"),
    "schedule": st.column_config.TextColumn("schedule", width=85, help="What the budget of an event follows"),
    "step": st.column_config.NumberColumn("step", width=60, help="The last recorded step"),
    "of": st.column_config.NumberColumn("of", width=60, help="Steps that the run was made for"),
    "result": st.column_config.NumberColumn("result", format="%.3f", width=65, help="At the last evaluation"),
    "measured": st.column_config.TextColumn("measured", width=110, help="What the result is"),
    "net moves": st.column_config.NumberColumn(
        "net moves", width=90, help="Directions that matrices gained or lost in the end; empty: not in the log"
    ),
    "made from": st.column_config.TextColumn("made from", width=150, help="The run whose settings were edited"),
    "created": st.column_config.DatetimeColumn("created", format="YYYY-MM-DD HH:mm", width=120),
    "size": st.column_config.NumberColumn("size", format="bytes", width=80, help="Everything in its folder"),
}


def page() -> None:
    """Draws the page."""
    # The user's own come first: theirs is the last one trained or imported.
    me = visitor()
    rows = sorted(read_rows(run_entries(), me), key=lambda row: WHERE.index(row.where))
    trash = in_trash(runs_root(), me)
    line_caption(REGISTRY, me)
    row = _library(rows, trash)
    _say(st.session_state.get(DONE))
    if row is not None:
        with st.container(border=True, key="runs_details"):
            _details(row)
    first = st.session_state.setdefault("runs_import_open", not any(row.own for row in rows))
    with st.expander("Import a log", expanded=first, icon=":material/upload_file:", key="runs_import_box"):
        import_panel()
    _studies()
    if trash:
        _trash(trash)


def _studies() -> None:
    """Say where the runs of studies are."""
    studies = study_entries()
    if not studies:
        return
    with st.container(horizontal=True, vertical_alignment="center", key="runs_studies"):
        st.caption("Runs of a study are kept with it. Open in Compare, section Runs:", width="content")
        for entry in studies[:SHOWN_STUDIES]:
            if st.button(plain(entry.folder.name), key=f"runs_study_{entry.key}", type="tertiary"):
                compare(entry.key)
        if len(studies) > SHOWN_STUDIES:
            st.caption(f"and {len(studies) - SHOWN_STUDIES} more", width="content")


def _say(done: Done | None) -> None:
    """What was done last, with the way back."""
    if done is None:
        return
    if done.failed:
        st.warning(plain(done.text), icon=":material/block:")
        return
    with st.container(horizontal=True, vertical_alignment="center", key="runs_done_line"):
        st.markdown(f":material/check: {plain(done.text)}", width="content")
        if done.undo is not None:
            act("Undo", "runs_undo", ":material/undo:", done.undo)


def _library(rows: Sequence[RunRow], trash: Sequence[Trashed]) -> RunRow | None:
    """Draw search and table; return the chosen row."""
    if not rows:
        st.header("No run yet")
        st.markdown("Runs that are trained on **Train** or imported below are listed here.")
        return None
    left, right = st.columns([0.4, 0.6], vertical_alignment="center")
    text = left.text_input(
        "Search",
        key="runs_search",
        placeholder="Search: name, method, task, preset, state, tag, note",
        label_visibility="collapsed",
        icon=":material/search:",
        persist_state="session",
    )
    right.caption(_use(rows, trash))
    found = search(rows, text)
    if not found:
        st.info(f"None of {len(rows)} runs holds all of these words. Empty the search to see them.")
        return None
    row = _table(found)
    with st.container(horizontal=True, vertical_alignment="center"):
        if row is None:
            st.caption("Choose a run to open, rename, download or remove it.", width="stretch")
        if text.strip() and len(found) > 1:
            label = f"Compare these {len(found)}"
            if st.button(label, key="runs_compare", icon=":material/compare_arrows:"):
                compare_runs([own.key for own in found])
    return row


def _use(rows: Sequence[RunRow], trash: Sequence[Trashed]) -> str:
    """How much of the disk the runs take."""
    parts = []
    for where, words in zip(WHERE, ("of yours", "of other browsers", "bundled"), strict=True):
        sizes = [row.disk_bytes for row in rows if row.where == where]
        if not sizes and where == OTHERS:
            continue
        parts.append(f"{len(sizes)} {words}, {size_text(sum(sizes))}")
    if trash:
        parts.append(f"{len(trash)} in the trash, {size_text(sum(entry.disk_bytes for entry in trash))}")
    return " · ".join(parts)


def _table(rows: Sequence[RunRow]) -> RunRow | None:
    """Draw the table; return the chosen row."""
    keys = [row.key for row in rows]
    state = st.session_state
    chosen = state.get(SELECTED)
    # Rows are chosen by their place, so other rows, or a choice that the page made, need another table.
    ident = "\n".join([str(state.get(SELECTIONS_MADE, 0)), *keys])
    view = st.dataframe(
        columns(rows),
        key=f"runs_table_{zlib.crc32(ident.encode('utf-8', 'backslashreplace'))}",
        hide_index=True,
        height=min(len(rows) + 1, TABLE_ROWS) * ROW_HEIGHT + 3,
        column_config=COLUMNS,
        # Streamlit would write a sign for "nothing" in a grey that cannot be read.
        placeholder="",
        on_select="rerun",
        selection_mode="single-row",
        selection_default={"selection": {"rows": [keys.index(chosen)] if chosen in keys else []}},
        alt="Runs: name, state, method, preset, task, steps, result, net moves, date and size",
    )
    places = view.selection.rows
    row = rows[places[0]] if places else None
    if row is not None or chosen in keys:
        state[SELECTED] = row.key if row is not None else None
    return row


def _details(row: RunRow) -> None:
    st.markdown(f"**{plain(row.name)}**  \n{plain(describe_row(row))}")
    if told := told_notes(row.notes):
        st.markdown(told)
    if row.fault:
        st.warning(plain(row.fault), icon=":material/broken_image:")
    readable = row.state != DAMAGED
    with st.container(horizontal=True, vertical_alignment="center", key="runs_actions"):
        if readable and st.button("Open in Explore", key="runs_explore", type="primary", icon=":material/explore:"):
            explore(row.key)
        if row.replayable and st.button("What-if", key="runs_what_if", icon=":material/alt_route:"):
            go("What-if", what_if_run=row.key)
        if readable:
            name, icon = f"{row.name}.zip", ":material/folder_zip:"
            told = "The log, without checkpoint and adapter; it can be imported again"
            download(
                "Download zip", lambda: pack(row.folder), name, "runs_zip", icon=icon, help=told, mime="application/zip"
            )
        if not row.own:
            why, copy = "Copy it to your runs, where it can be tagged, renamed and removed", ":material/content_copy:"
            act("Duplicate", "runs_duplicate", copy, duplicate_run, row, help=why, disabled=not readable)
            st.caption("A bundled run stays as it is. A copy can be tagged.", width="content")
            return
        notes_panel(row.folder, row.own)
        reason = why_not_movable(runs_root(), row.folder, visitor(), "remove")
        with st.popover("Rename", icon=":material/edit:", disabled=reason is not None, key=f"runs_rename_{row.name}"):
            _rename(row)
        act("Move to trash", "runs_trash", ":material/delete:", trash_run, row, disabled=reason is not None)
    if reason is not None:
        st.caption(plain(reason))


def _rename(row: RunRow) -> None:
    key = f"runs_name_{row.name}"
    with st.form("runs_rename_form", border=False):
        st.text_input("New name", row.name, key=key, help=ALLOWED)
        st.form_submit_button(
            "Rename", key="runs_rename_do", type="primary", on_click=lambda: rename_run(row, st.session_state[key])
        )


def _trash(trash: Sequence[Trashed]) -> None:
    size = size_text(sum(entry.disk_bytes for entry in trash))
    with st.expander(f"Trash: {len(trash)}, {size}", icon=":material/delete:", key="runs_trash_box"):
        st.caption(f"In `{runs_root().name}/{TRASH}`, until it is deleted for ever.")
        asked = [entry for entry in trash if entry.folder in st.session_state.get(CONFIRM, ())]
        if asked:
            _confirm(asked)
        for entry in trash[:SHOWN_TRASH]:
            ident = entry.folder.parent.name
            with st.container(horizontal=True, vertical_alignment="center", key=f"runs_trashed_{ident}"):
                told = f"{plain(entry.name)} · removed {entry.removed} · {size_text(entry.disk_bytes)}"
                st.markdown(told, width="stretch")
                act("Restore", f"runs_restore_{ident}", ":material/restore_from_trash:", restore_run, entry.folder)
                act("Delete for ever", f"runs_delete_{ident}", DELETE, ask_to_delete, [entry.folder])
        if len(trash) > SHOWN_TRASH:
            st.caption(f"and {len(trash) - SHOWN_TRASH} removed before these")
        if len(trash) > 1:
            act("Empty the trash", "runs_empty", DELETE, ask_to_delete, [entry.folder for entry in trash])


def _confirm(asked: Sequence[Trashed]) -> None:
    what = plain(asked[0].name) if len(asked) == 1 else f"{len(asked)} runs"
    size = size_text(sum(entry.disk_bytes for entry in asked))
    with st.container(horizontal=True, vertical_alignment="center", key="runs_confirm_line"):
        st.warning(f"Delete {what} ({size}) for ever? Nothing brings it back.", icon=":material/warning:")
        act("Yes, delete for ever", "runs_confirm_yes", None, delete_runs, asked, type="primary")
        act("Keep", "runs_confirm_no", None, ask_to_delete, ())
