"""Uploaded files and zips, kept in a folder of the session: one adapter, or several below it."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from analysis.adapters import AdapterError
from analysis.adapters.files import CONFIG, WEIGHTS
from analysis.adapters.own import OWN_CONFIG
from analysis.adapters.places import PICKLES, several_in
from analysis.adapters.shards import first_parts, without_part
from analysis.adapters.zips import SUFFIXES, unpack, zip_names
from files import Kept, Uploaded, stamp

MAX_MIB = 500
MAX_BYTES = MAX_MIB << 20
"""Uploaded files together, unpacked: an adapter of a 7B model at r = 64 takes 320 MB in bf16."""

MAX_ZIPS = 2
"""Zips on the server's disk that a session holds unpacked."""


def keep_upload(files: Sequence[Uploaded]) -> Path:
    """Write uploaded files into a folder of this session; return it, or the only file of one that stands alone.

    Files keep their names, and together they are a folder; so are the files of a zip.

    Raises:
        AdapterError: files that are no adapter, or too large.
    """
    kept: dict[str, Kept] = st.session_state.setdefault("adapters_uploads", {})
    key = "+".join(file.file_id for file in files)
    if key not in kept:
        kept[key] = _kept(files)
    folder = kept[key].folder
    held = list(folder.iterdir())
    weights = [file for file in held if file.is_file() and file.suffix != ".json"]
    # A file of another format stands alone; without a configuration a folder would be asked for one.
    settings = any((folder / name).exists() for name in (CONFIG, OWN_CONFIG))
    alone = len(weights) == 1 and not settings and not any(place.is_dir() for place in held)
    return weights[0] if alone else folder


def upload_name(files: Sequence[Uploaded]) -> str:
    """Return what to call one adapter that was uploaded: as its zip, or else as the file of its weights."""
    weights = first_parts([Path(file.name) for file in files if file.name.endswith(SUFFIXES)])
    return next((without_part(path.name) for path in weights), Path(files[0].name).stem)


def keep_zip(path: Path) -> Path:
    """Return a folder of this session with what a zip on the server's disk holds, if that is several adapters.

    Any other path is returned as it is.

    Raises:
        AdapterError: several adapters that are too large to be unpacked here.
    """
    if path.suffix != ".zip" or not path.is_file():
        return path
    kept: dict[Any, Kept] = st.session_state.setdefault("adapters_zips", {})
    ident = (path, stamp(path))
    if ident not in kept:
        weights = [Path(name) for name in zip_names(path, path.name) if name.endswith(SUFFIXES)]
        if len(first_parts(weights)) == 1:
            return path
        own = Kept({}, "adapter-")
        unpack(path, path.name, own.folder, MAX_BYTES)
        if not several_in(own.folder):
            return path
        while len(kept) >= MAX_ZIPS:
            del kept[next(iter(kept))]
        kept[ident] = own
    return kept[ident].folder


def kept_folders() -> list[Path]:
    """Return the folders in which uploads and unpacked zips of this session lie."""
    state = st.session_state
    kept = [*state.get("adapters_uploads", {}).values(), *state.get("adapters_zips", {}).values()]
    return [own.folder for own in kept]


def _kept(files: Sequence[Uploaded]) -> Kept:
    """Write the files, or what the zips hold, into a new folder."""
    for file in files:
        if file.size > MAX_BYTES:
            raise AdapterError(f"{file.name} has {file.size >> 20} MiB; at most {MAX_MIB} can be uploaded.")
    zips = [file for file in files if file.name.lower().endswith(".zip")]
    if zips and len(zips) < len(files):
        other = next(file.name for file in files if file not in zips)
        raise AdapterError(
            f"{zips[0].name} and {other}: which of them is the adapter is not known. Upload zips, or files, not both."
        )
    twice = next((name for name, count in Counter(file.name for file in files).items() if count > 1), None)
    if twice is not None:
        raise AdapterError(
            f"Two files are named {twice}: upload one of them, or put each adapter into a zip of its own."
        )
    if not zips:
        return Kept(contents_of(files), "adapter-")
    found, room = Kept({}, "adapter-"), MAX_BYTES
    for number, file in enumerate(zips, 1):
        # Each is a folder: what two zips hold may have the same names.
        own_name = Path(file.name).stem.strip(". ") or f"zip {number}"
        place = found.folder / own_name if len(zips) > 1 else found.folder
        unpack(io.BytesIO(file.getbuffer()), file.name, place, room)
        room -= sum(part.stat().st_size for part in place.rglob("*") if part.is_file())
    return found


def contents_of(files: Sequence[Uploaded]) -> dict[str, Any]:
    """Return file name → content of files that are no zips, as a folder would hold them.

    Names stay. Only a single JSON file under another name is the configuration: browsers number a name that they have
    seen, "adapter_config (1).json".

    Raises:
        AdapterError: no weights, or files of which one cannot say which is the configuration.
    """
    found = {Path(file.name).name: file.getbuffer() for file in files}
    if not any(name.endswith((*SUFFIXES, *PICKLES)) for name in found):
        raise AdapterError(f"No weights among {', '.join(found)}: {WEIGHTS} is needed too.")
    settings = [name for name in found if name.endswith(".json") and not name.endswith(".index.json")]
    likely = [name for name in settings if name.startswith(Path(CONFIG).stem)]
    unclear = likely if len(likely) > 1 else settings if not likely else []
    if len(unclear) > 1:
        raise AdapterError(f"{' and '.join(unclear)}: upload one of them, the {CONFIG} of these weights.")
    own = next(iter([*likely, *settings]), CONFIG)
    return found if own == OWN_CONFIG else {CONFIG if name == own else name: content for name, content in found.items()}
