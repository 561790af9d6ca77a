"""Where an adapter comes from: a path, or uploaded files kept in a folder of the session."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, NamedTuple

import streamlit as st

from adapters.triage import triage_table, triaged
from adapters.uploads import MAX_MIB, keep_upload, keep_zip, kept_folders, upload_name
from analysis.adapters import AdapterError, AdapterSpectra, analyse_adapter, open_adapter
from analysis.adapters.files import CONFIG, OWN_WEIGHTS, WEIGHTS
from analysis.adapters.own import OWN_CONFIG, RUN_ADAPTER, is_own, peft_files
from analysis.adapters.places import several_in
from analysis.adapters.triage import CLOSED
from analysis.adapters.zips import SUFFIXES
from files import Kept, stamp
from runs.store import allowed, named, plain
from widgets import progress, select, upload

ENDINGS = (*SUFFIXES, ".json")
"""Of the files that an adapter is made of."""

MAIN = "adapters"
"""Begins the keys of the adapter that the page is about."""

MAX_KEPT = 4
"""Analysed adapters that a session remembers."""


class Source(NamedTuple):
    """An adapter that opened."""

    path: Path
    label: str
    spectra: AdapterSpectra
    uploaded: bool = False
    choice: str = ""
    """Which of the adapters below the typed folder."""


def ask_source(key: str, label: str, near: Path | None = None) -> Source | None:
    """Draw the widgets that choose an adapter; open and analyse it, or say in one box why not.

    The last adapter that opened stays when another does not. ``key`` begins the keys of widgets and of what is
    remembered, ``label`` stands over the text input; a name that lies in the folder ``near`` is taken from there.
    """
    left, right = st.columns([0.55, 0.45], vertical_alignment="top")
    with left:
        typed = st.text_input(
            label,
            key=f"{key}_path",
            placeholder="path of a folder, a .safetensors or .gguf file or a zip, on the machine that runs the Lab",
            persist_state="session",
            on_change=forget_upload,
            args=(key,),
        ).strip()
    with right:
        files = upload(
            f"or upload {CONFIG} and {WEIGHTS}, a zip of one adapter or several, or a file of another format",
            f"{key}_files_{st.session_state.get(f'{key}_uploader', 0)}",
            MAX_MIB,
        )
    if not files and not typed:
        st.session_state.pop(f"{key}_last", None)
        return None
    try:
        place = keep_upload(files) if files else keep_zip(_typed(typed, near))
        path = _chosen(place, key, "upload" if files else "zip" if typed.endswith(".zip") else "folder")
        name = upload_name(files) if files and path == place else _label(path)
        choice = path.relative_to(place).as_posix() if path != place else ""
        if path.is_dir() and is_own(path):
            path = _converted(path)
        found = Source(path, name, _analyse(path), bool(files), choice)
    except (OSError, ValueError) as error:
        # An AdapterError is a ValueError, and so is a path with characters that no file system takes.
        told = str(error)
        for folder in kept_folders():
            # Where uploads lie is nothing that the visitor has seen.
            told = told.replace(str(folder), "what was uploaded" if files else "the zip")
        st.error(f"**This adapter cannot be opened.**\n\n{plain(told)}", icon=":material/error:")
        last: Source | None = st.session_state.get(f"{key}_last")
        if last is not None:
            st.caption(f"Still shown: {plain(last.label)}.")
        return last
    if files and typed:
        st.caption("The uploaded files are shown, not the path. Remove them, or open a path anew, to see that.")
    st.session_state[f"{key}_last"] = found
    return found


def _typed(typed: str, near: Path | None) -> Path:
    beside = near / typed if near is not None else None
    return allowed(beside, AdapterError) if beside is not None and beside.exists() else named(typed, AdapterError)


def _label(path: Path) -> str:
    """Return what to call an adapter by its path: of files and folders that all are named alike, by where they lie."""
    alike = path.name == RUN_ADAPTER if path.is_dir() else path.stem == Path(WEIGHTS).stem
    # Where uploads lie is nothing that the visitor has named.
    return path.parent.name if alike and path.parent not in kept_folders() else path.name


def mapped(source: Source) -> AdapterSpectra:
    """Return the adapter with the corrections of this session."""
    places = st.session_state.get("adapters_places", {}).get(str(source.path))
    if not places:
        return source.spectra
    own = {matrix.name for matrix in source.spectra.adapter.matrices}
    kept = {name: place for name, place in places.items() if name in own}
    return AdapterSpectra(source.spectra.adapter.mapped(kept), source.spectra.singular_values)


def forget_upload(key: str) -> None:
    """Empty the uploader: what was opened last is shown."""
    st.session_state[f"{key}_uploader"] = st.session_state.get(f"{key}_uploader", 0) + 1


def siblings(source: Source) -> dict[str, Path]:
    """Return name → path of the other adapters in the folder or zip that this one was chosen from."""
    if not source.choice:
        return {}
    home = source.path.parents[len(Path(source.choice).parts) - 1]
    found = {place.relative_to(home).as_posix(): place for place in several_in(home)}
    found.pop(source.choice, None)
    return found


def _chosen(path: Path, key: str, what: str) -> Path:
    """Return a path, or the one of several adapters in its folder that the visitor chooses; ``what`` it came as."""
    choices = {choice.relative_to(path).as_posix(): choice for choice in several_in(path)}
    if not choices:
        return path
    chosen = f"{key}_choice_{path}"
    linked = st.session_state.pop("adapters_linked", None) if key == MAIN else None
    if linked in choices:
        st.session_state[chosen] = linked
    rows = triaged(choices) if key == MAIN else None
    if rows and st.session_state.get(chosen) not in choices:
        # What to look at first.
        st.session_state[chosen] = next((row.name for row in rows if row.verdict != CLOSED), rows[0].name)
    asked = select(f"{len(choices)} adapters in this {what}", list(choices), chosen)
    if rows:
        triage_table(choices, rows, asked, chosen)
    return choices.get(asked, path)


def _analyse(path: Path) -> AdapterSpectra:
    """Analyse an adapter once for as long as its files stay the same."""
    files = (
        [file for file in path.iterdir() if file.suffix in ENDINGS] if path.is_dir() else [path, path.parent / CONFIG]
    )
    ident = (path, stamp(*sorted(files)))
    kept: dict[Any, AdapterSpectra] = st.session_state.setdefault("adapters_kept", {})
    if ident in kept:
        return kept[ident]
    adapter = open_adapter(path)
    of, counted = len(adapter.matrices), [0]
    # The workers only count; this thread alone draws.
    with progress("Singular values") as draw, ThreadPoolExecutor(1) as pool:
        future = pool.submit(analyse_adapter, adapter, lambda number, _of: counted.append(number))
        while wait([future], timeout=0.1).not_done:
            draw(max(counted), of)
        spectra = future.result()
    while len(kept) >= MAX_KEPT:
        del kept[next(iter(kept))]
    kept[ident] = spectra
    return spectra


def _converted(folder: Path) -> Path:
    """Write an adapter of the Lab, as PEFT reads it, into a folder of this session, once for as long as it stays."""
    kept: dict[Any, Kept] = st.session_state.setdefault("adapters_converted", {})
    ident = (folder, stamp(folder / OWN_WEIGHTS, folder / OWN_CONFIG))
    if ident not in kept:
        while len(kept) >= MAX_KEPT:
            del kept[next(iter(kept))]
        kept[ident] = Kept(peft_files(folder), "adapter-")
    return kept[ident].folder
