"""The popover in which the owner of a run writes its tags and its note."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from flexlora.errors import FlexLoRAError
from jobs.owner import may, read_owner
from jobs.visitor import visitor
from runs.notes import MAX_NOTE, Notes, parse_tags, read_notes, write_notes
from runs.store import plain


def notes_panel(folder: Path, own: bool) -> None:
    """Draw the popover for whoever may write, beside the other actions of a run.

    Args:
        folder: of the run.
        own: False for a bundled one, of which nobody writes.
    """
    if not own or not may(visitor(), "annotate", read_owner(folder)):
        return
    notes = read_notes(folder)
    key = f"runs_notes_{folder.name}"
    with (
        st.popover("Tags and note", icon=":material/sell:", key=key, on_change="rerun"),
        st.form(f"{key}_form", border=False),
    ):
        st.text_input("Tags", ", ".join(notes.tags), key=f"{key}_tags", placeholder="baseline, ablation")
        st.text_area("Note", notes.note, key=f"{key}_note", max_chars=MAX_NOTE)
        st.form_submit_button("Keep", key=f"{key}_keep", type="primary", on_click=_keep, args=(folder, key))
    if fault := st.session_state.pop(f"{key}_fault", None):
        st.warning(plain(fault), icon=":material/block:")


def told_notes(notes: Notes) -> str:
    """Return tags and note as Markdown; empty where there is nothing to tell."""
    tags = " ".join(f":gray-badge[{plain(tag)}]" for tag in notes.tags)
    return "  \n".join(part for part in (tags, plain(notes.note).replace("\n", "  \n")) if part)


def _keep(folder: Path, key: str) -> None:
    try:
        tags = parse_tags(st.session_state[f"{key}_tags"])
        write_notes(folder, Notes(tags, st.session_state[f"{key}_note"].strip()), visitor())
        # Closed: it is kept.
        st.session_state[key] = False
    except FlexLoRAError as error:
        st.session_state[f"{key}_fault"] = str(error)
