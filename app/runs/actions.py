"""What the Runs page does when a button is pressed, and what it says afterwards, with the way back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import streamlit as st

from flexlora.run_log import RunLogError
from jobs.registry import REGISTRY
from jobs.visitor import visitor
from links import EXPLORED
from runs.folders import Trashed, delete_for_ever, duplicate, free_name, rename, restore, to_trash
from runs.rows import RunRow, size_text
from runs.store import runs_root

DONE = "runs_done"
SELECTED = "runs_selected"
SELECTIONS_MADE = "runs_choices"
"""How often the page itself chose a run: the table begins anew with it."""
CONFIRM = "runs_confirm"
# A FlexLoRAError is a ValueError, and so is a path with characters that no file system takes.
FAULTS = (OSError, ValueError, RunLogError)


@dataclass(frozen=True)
class Done:
    """What was done last.

    Attributes:
        text: one line.
        failed: nothing was done, the line says why.
        undo: takes it back; None where there is no way.
    """

    text: str
    failed: bool = False
    undo: Callable[[], None] | None = None


def choose(folder: Path | None) -> None:
    """Select one of the user's runs in the table, or none."""
    state: Any = st.session_state
    state[SELECTED] = None if folder is None else f"runs/{folder.name}"
    state[SELECTIONS_MADE] = state.get(SELECTIONS_MADE, 0) + 1


Asked = ParamSpec("Asked")


def _told(act: Callable[Asked, Done]) -> Callable[Asked, None]:
    """Let an action leave what it did, or why it could not, for the page to say."""

    @wraps(act)
    def do(*given: Asked.args, **more: Asked.kwargs) -> None:
        try:
            st.session_state[DONE] = act(*given, **more)
        except FAULTS as error:
            st.session_state[DONE] = Done(str(error), failed=True)

    return do


@_told
def rename_run(row: RunRow, new_name: str) -> Done:
    """Rename a run; what the session and Train hold of it follows."""
    folder = rename(runs_root(), row.folder, new_name, visitor())
    choose(folder)
    for key in (EXPLORED, "what_if_run"):
        if st.session_state.get(key) == f"runs/{row.name}":
            st.session_state[key] = f"runs/{folder.name}"
    REGISTRY.renamed(row.folder, folder)
    back = RunRow(f"runs/{folder.name}", folder, row.state)
    text = f"{row.name} is called {folder.name} now."
    return Done(text, undo=lambda: rename_run(back, row.name)) if folder != row.folder else Done("Nothing changed.")


@_told
def trash_run(row: RunRow) -> Done:
    """Move a run into the trash."""
    gone = to_trash(runs_root(), row.folder, visitor())
    choose(None)
    return Done(f"{row.name} is in the trash.", undo=lambda: restore_run(gone.folder))


@_told
def restore_run(folder: Path) -> Done:
    """Bring a run back from the trash."""
    back = restore(runs_root(), folder, visitor())
    choose(back)
    st.session_state.pop(CONFIRM, None)
    return Done(f"{back.name} is back.")


@_told
def duplicate_run(row: RunRow) -> Done:
    """Copy the log of a bundled run to the user's own."""
    root = runs_root()
    root.mkdir(parents=True, exist_ok=True)
    copy = duplicate(root, row.folder, free_name(root, row.name))
    choose(copy)
    own = RunRow(f"runs/{copy.name}", copy, row.state)
    return Done(f"runs/{copy.name} is a copy of {row.name}.", undo=lambda: trash_run(own))


def ask_to_delete(folders: Sequence[Path]) -> None:
    """Ask before runs in the trash are deleted; nothing to delete ends the asking."""
    st.session_state[CONFIRM] = tuple(folders)


@_told
def delete_runs(gone: Sequence[Trashed]) -> Done:
    """Delete runs in the trash, after the user said so."""
    st.session_state.pop(CONFIRM, None)
    freed = delete_for_ever(runs_root(), [entry.folder for entry in gone], visitor())
    what = gone[0].name if len(gone) == 1 else f"{len(gone)} runs"
    return Done(f"{what} deleted, {size_text(freed)} freed.")
