"""Where an adapter comes from: a path, or uploaded files kept in a folder of the session."""

from __future__ import annotations

import io
import lzma
import zipfile
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, NamedTuple

import streamlit as st

from analysis.adapters import AdapterError, AdapterSpectra, analyse_adapter, open_adapter
from analysis.adapters.files import CONFIG, OWN_WEIGHTS, WEIGHTS
from analysis.adapters.own import OWN_CONFIG, is_own, peft_files
from analysis.adapters.places import KNOWN_WEIGHTS, SUFFIXES, several_in
from files import Kept, Uploaded, stamp
from runs.store import named, plain
from widgets import progress, select

MAX_MIB = 500
MAX_BYTES = MAX_MIB << 20
"""Uploaded files together, unpacked."""

ENDINGS = (*SUFFIXES, ".json")
"""Of the files that an adapter is made of."""

MAX_KEPT = 4
"""Analysed adapters that a session remembers."""


class Source(NamedTuple):
    """An adapter that opened."""

    path: Path
    label: str
    spectra: AdapterSpectra


def ask_source(key: str, label: str) -> Source | None:
    """Draw the widgets that choose an adapter; open and analyse it, or say in one box why not.

    The last adapter that opened stays when another does not. ``key`` begins the keys of widgets and of what is
    remembered, ``label`` stands over the text input.
    """
    left, right = st.columns([0.55, 0.45], vertical_alignment="top")
    with left:
        typed = st.text_input(
            label,
            key=f"{key}_path",
            placeholder="path of a folder, a .safetensors or .gguf file or a zip, on the machine that runs the Lab",
            persist_state="session",
        ).strip()
    with right:
        files = st.file_uploader(
            f"or upload {CONFIG} and {WEIGHTS} (or a zip of both), or one file of another format",
            accept_multiple_files=True,
            max_upload_size=MAX_MIB,
            key=f"{key}_files",
        )
    if not files and not typed:
        st.session_state.pop(f"{key}_last", None)
        return None
    try:
        path = _keep(files) if files else _chosen(named(typed, AdapterError), key)
        name = Path(files[0].name).stem if files and len(files) == 1 else None
        if not files and path.is_dir() and is_own(path):
            # "adapter" is what every run calls its own.
            path, name = _converted(path), path.parent.name if path.name == "adapter" else path.name
        found = Source(path, name or path.name, _analyse(path))
    except (OSError, ValueError) as error:
        # An AdapterError is a ValueError, and so is a path with characters that no file system takes.
        st.error(f"**This adapter cannot be opened.**\n\n{plain(str(error))}", icon=":material/error:")
        last: Source | None = st.session_state.get(f"{key}_last")
        if last is not None:
            st.caption(f"Still shown: {plain(last.label)}.")
        return last
    if files:
        if typed:
            st.caption("The uploaded files are shown. Remove them to open the path.")
        found = found._replace(label="uploaded adapter" if name in (None, "adapter_model") else name)
    st.session_state[f"{key}_last"] = found
    return found


def mapped(source: Source) -> AdapterSpectra:
    """Return the adapter with the corrections of this session."""
    places = st.session_state.get("adapters_places", {}).get(str(source.path))
    if not places:
        return source.spectra
    own = {matrix.name for matrix in source.spectra.adapter.matrices}
    kept = {name: place for name, place in places.items() if name in own}
    return AdapterSpectra(source.spectra.adapter.mapped(kept), source.spectra.singular_values)


def _chosen(path: Path, key: str) -> Path:
    """Return a path, or the one of several adapters in its folder that the visitor chooses."""
    choices = {choice.relative_to(path).as_posix(): choice for choice in several_in(path)}
    if not choices:
        return path
    asked = select(f"{len(choices)} adapters in this folder", list(choices), f"{key}_choice_{path}")
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


def _keep(files: Sequence[Uploaded]) -> Path:
    """Write uploaded files into a folder of this session and return it.

    Raises:
        AdapterError: files that are no adapter, or too large.
    """
    kept: dict[str, Kept] = st.session_state.setdefault("adapters_uploads", {})
    key = "+".join(file.file_id for file in files)
    if key not in kept:
        kept[key] = Kept(_contents(files), "adapter-")
    folder = kept[key].folder
    # A file of another format stands alone; without a configuration a folder would be asked for one.
    return folder if (folder / CONFIG).exists() else next(f for f in folder.iterdir() if f.suffix not in (".json",))


def _converted(folder: Path) -> Path:
    """Write an adapter of the Lab, as PEFT reads it, into a folder of this session, once for as long as it stays."""
    kept: dict[Any, Kept] = st.session_state.setdefault("adapters_converted", {})
    ident = (folder, stamp(folder / OWN_WEIGHTS, folder / OWN_CONFIG))
    if ident not in kept:
        while len(kept) >= MAX_KEPT:
            del kept[next(iter(kept))]
        kept[ident] = Kept(peft_files(folder), "adapter-")
    return kept[ident].folder


def _contents(files: Sequence[Uploaded]) -> dict[str, Any]:
    """Return file name → content, unpacked; only names that an adapter has."""
    found: dict[str, Any] = {}
    for file in files:
        if file.size > MAX_BYTES:
            raise AdapterError(f"{file.name} has {file.size >> 20} MiB; at most {MAX_MIB} can be uploaded.")
        if file.name.lower().endswith(".zip"):
            found |= _unzipped(file)
        else:
            found[_kept_name(file.name)] = file.getbuffer()
    if not any(name.startswith("adapter_model") for name in found):
        raise AdapterError(f"No weights among {', '.join(file.name for file in files)}: {WEIGHTS} is needed too.")
    return found


def _kept_name(name: str) -> str:
    """Return the name a file gets: any safetensors file counts as the weights, any JSON as the configuration."""
    base = Path(name).name
    if base.endswith(".safetensors"):
        return WEIGHTS
    return CONFIG if base.endswith(".json") else "adapter_model" + Path(base).suffix


def _is_part(name: str) -> bool:
    """Return whether a file in a zip is weights or the configuration of an adapter."""
    known = name in KNOWN_WEIGHTS or Path(name).suffix in SUFFIXES
    return (known and not name.startswith("._") and name != OWN_WEIGHTS) or name == CONFIG


def _unzipped(file: Uploaded) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(file.getbuffer())) as archive:
            own = [item for item in archive.infolist() if _is_part(Path(item.filename).name)]
            names = [_kept_name(item.filename) for item in own]
            if len(set(names)) < len(names):
                raise AdapterError(f"{file.name} holds several adapters. Pack one into a zip.")
            if sum(item.file_size for item in own) > MAX_BYTES:
                raise AdapterError(f"{file.name} unpacks to more than {MAX_MIB} MiB.")
            return {name: archive.read(item) for name, item in zip(names, own, strict=True)}
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, RuntimeError, NotImplementedError, EOFError) as error:
        raise AdapterError(f"{file.name} cannot be unpacked: {error}.") from error
