"""A study of one's own goes to the trash of the runs, from which Runs brings it back."""

from __future__ import annotations

import streamlit as st

from compare.studies import StudyEntry
from flexlora.errors import FlexLoRAError
from flexlora.study.files import is_held
from jobs.owner import Owner, may, read_owner
from jobs.question import MESSAGE
from links import COMPARED
from runs.folders import to_trash
from runs.store import runs_root
from widgets import act


def removal(entry: StudyEntry, me: Owner) -> None:
    """Draw the button for whoever may remove the study while nobody works on it."""
    if entry.own and entry.live is None and may(me, "remove", read_owner(entry.folder)) and not is_held(entry.folder):
        act("Move this study to the trash", "compare_trash", ":material/delete:", _remove, entry, me)


def _remove(entry: StudyEntry, me: Owner) -> None:
    try:
        to_trash(runs_root(), entry.folder, me)
    except FlexLoRAError as error:
        st.session_state[MESSAGE] = str(error)
        return
    st.session_state[COMPARED] = ""
    st.session_state[MESSAGE] = f"{entry.folder.name} is in the trash. Runs brings it back."
