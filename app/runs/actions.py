"""What the Runs page does when a button is pressed, and what it says afterwards, with the way back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from flexlora.run_log import RunLogError
from jobs.registry import REGISTRY
from jobs.visitor import visitor
from runs.folders import Trashed, delete_for_ever, duplicate, free_name, rename, restore, to_trash
from runs.rows import RunRow, size_text
from runs.store import runs_root

DONE = "runs_done"
SELECTED = "runs_selected"
SELECTIONS_MADE = "runs_choices"
"""How often the page itself chose a run: the table begins anew with it."""
CONFIRM = "runs_confirm"
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


def rename_run(row: RunRow, new_name: str) -> None:
    """Rename a run; what the session and Train hold of it follows."""

    def act() -> Done:
        folder = rename(runs_root(), row.folder, new_name, visitor())
        _follow(row.folder, folder)
        back = RunRow(f"runs/{folder.name}", folder, row.state)
        text = f"{row.name} is called {folder.name} now."
        return Done(text, undo=lambda: rename_run(back, row.name)) if folder != row.folder else Done("Nothing changed.")

    _do(act)


def trash_run(row: RunRow) -> None:
    """Move a run into the trash."""

    def act() -> Done:
        gone = to_trash(runs_root(), row.folder, visitor())
        choose(None)
        return Done(f"{row.name} is in the trash.", undo=lambda: restore_run(gone.folder))

    _do(act)


def restore_run(folder: Path) -> None:
    """Bring a run back from the trash."""

    def act() -> Done:
        back = restore(runs_root(), folder, visitor())
        choose(back)
        st.session_state.pop(CONFIRM, None)
        return Done(f"{back.name} is back.")

    _do(act)


def duplicate_run(row: RunRow) -> None:
    """Copy the log of a bundled run to the user's own."""

    def act() -> Done:
        root = runs_root()
        root.mkdir(parents=True, exist_ok=True)
        copy = duplicate(root, row.folder, free_name(root, row.name))
        choose(copy)
        own = RunRow(f"runs/{copy.name}", copy, row.state)
        return Done(f"runs/{copy.name} is a copy of {row.name}.", undo=lambda: trash_run(own))

    _do(act)


def ask_to_delete(folders: Sequence[Path]) -> None:
    """Ask before runs in the trash are deleted; nothing to delete ends the asking."""
    st.session_state[CONFIRM] = tuple(folders)


def delete_runs(gone: Sequence[Trashed]) -> None:
    """Delete runs in the trash, after the user said so."""

    def act() -> Done:
        st.session_state.pop(CONFIRM, None)
        freed = delete_for_ever(runs_root(), [entry.folder for entry in gone], visitor())
        what = gone[0].name if len(gone) == 1 else f"{len(gone)} runs"
        return Done(f"{what} deleted, {size_text(freed)} freed.")

    _do(act)


def _do(act: Callable[[], Done]) -> None:
    try:
        st.session_state[DONE] = act()
    except FAULTS as error:
        st.session_state[DONE] = Done(str(error), failed=True)


def _follow(old: Path, new: Path) -> None:
    state: Any = st.session_state
    choose(new)
    for key in ("explore_run", "what_if_run"):
        if state.get(key) == f"runs/{old.name}":
            state[key] = f"runs/{new.name}"
    REGISTRY.renamed(old, new)
