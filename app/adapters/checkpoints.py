"""Checkpoints of a training, as a run in Explore."""

from __future__ import annotations

import streamlit as st

from analysis.importers import LogImportError
from analysis.importers.checkpoints import checkpoint_folders
from links import explore
from runs.folders import free_name, import_run
from runs.store import named, plain, runs_root


def offer_checkpoints(typed: str) -> None:
    """Offer a folder of checkpoints as a run: its spectra over training."""
    try:
        path = named(typed, LogImportError)
        folders = checkpoint_folders(path) if path.is_dir() else {}
    except (OSError, ValueError):
        return
    if len(folders) < 2:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"{len(folders)} checkpoints of one training, steps {min(folders)} to {max(folders)}.")
        pressed = st.button("See its spectra over training", key="adapters_checkpoints", icon=":material/timeline:")
    if not pressed:
        return
    name = free_name(runs_root(), f"{path.name}-checkpoints")
    try:
        with st.spinner("Reading the checkpoints …"):
            import_run(runs_root(), path, name, None)
    except (LogImportError, OSError) as error:
        st.error(plain(str(error)), icon=":material/error:")
        return
    explore(f"runs/{name}")
