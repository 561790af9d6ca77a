"""A training of the playground becomes a run of the user's, and Explore opens it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from files import Kept
from links import explore
from runs.actions import FAULTS
from runs.folders import free_name, import_run
from runs.store import runs_root

TROUBLE = "playground_trouble"
"""In the session: why the last one could not be opened; told once."""
MOST_CHARACTERS = 32 << 20
_FILE = "training.flexlora.json"


def open_training(told: Mapping[str, Any]) -> None:
    """Import what the browser recorded and leave for it in Explore; what cannot be is told on the page.

    Args:
        told: ``name`` of the run to be, and ``text``, the file that app/playground/record.js writes.
    """
    name, text = told.get("name"), told.get("text")
    try:
        if not isinstance(name, str) or not isinstance(text, str) or len(text) > MOST_CHARACTERS:
            raise ValueError(
                f"Not a training of the playground: a name and a text of at most {MOST_CHARACTERS >> 20} MB."
            )
        kept = Kept({_FILE: text.encode()}, "flexlora-log-")
        done = import_run(runs_root(), kept.folder / _FILE, free_name(runs_root(), name), None)
    except FAULTS as error:
        st.session_state[TROUBLE] = f"It could not be opened. {error}"
        st.rerun()
    else:
        explore(f"runs/{done.folder.name}")
