"""Uploaded files and zips, kept in a folder of the session: one adapter, or several below it."""

from __future__ import annotations

import io
import lzma
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import streamlit as st

from analysis.adapters import AdapterError
from analysis.adapters.files import CONFIG, OWN_WEIGHTS, WEIGHTS
from analysis.adapters.places import KNOWN_WEIGHTS, SUFFIXES
from files import Kept, Uploaded, stamp

MAX_MIB = 500
MAX_BYTES = MAX_MIB << 20
"""Uploaded files together, unpacked."""

MAX_ZIPS = 2
"""Zips on the server's disk that a session holds unpacked."""


def keep_upload(files: Sequence[Uploaded]) -> Path:
    """Write uploaded files into a folder of this session; return it, or the only file of one that stands alone.

    Raises:
        AdapterError: files that are no adapter, or too large.
    """
    kept: dict[str, Kept] = st.session_state.setdefault("adapters_uploads", {})
    key = "+".join(file.file_id for file in files)
    if key not in kept:
        kept[key] = Kept(contents_of(files), "adapter-")
    folder = kept[key].folder
    held = list(folder.iterdir())
    weights = [file for file in held if file.is_file() and file.suffix != ".json"]
    # A file of another format stands alone; without a configuration a folder would be asked for one.
    alone = len(weights) == 1 and not (folder / CONFIG).exists() and not any(place.is_dir() for place in held)
    return weights[0] if alone else folder


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
        found = unzipped(path.name, path)
        if set(found) <= {WEIGHTS, CONFIG} or len(found) == 1:
            return path
        while len(kept) >= MAX_ZIPS:
            del kept[next(iter(kept))]
        kept[ident] = Kept(found, "adapter-")
    return kept[ident].folder


def contents_of(files: Sequence[Uploaded]) -> dict[str, Any]:
    """Return file name → content, unpacked; only names that an adapter has.

    Several adapters, in one zip or as files of weights without a configuration, keep their own names and folders.

    Raises:
        AdapterError: no weights, too much, or a damaged zip.
    """
    for file in files:
        if file.size > MAX_BYTES:
            raise AdapterError(f"{file.name} has {file.size >> 20} MiB; at most {MAX_MIB} can be uploaded.")
    if len(files) > 1 and all(Path(file.name).suffix in SUFFIXES for file in files):
        return {Path(file.name).name: file.getbuffer() for file in files}
    found: dict[str, Any] = {}
    for file in files:
        if file.name.lower().endswith(".zip"):
            own = unzipped(file.name, io.BytesIO(file.getbuffer()))
            if len(files) > 1 and any("/" in name for name in own):
                raise AdapterError(f"{file.name} holds several adapters. Upload it alone.")
            found |= own
        else:
            found[_kept_name(file.name)] = file.getbuffer()
    if not any(Path(name).suffix in SUFFIXES or Path(name).name.startswith("adapter_model") for name in found):
        raise AdapterError(f"No weights among {', '.join(file.name for file in files)}: {WEIGHTS} is needed too.")
    return found


def unzipped(name: str, content: Path | io.BytesIO) -> dict[str, bytes]:
    """Return file name → content of the parts of adapters in a zip.

    One adapter has the names that PEFT gives; several keep their folders, which never lead out of the one they are
    unpacked into.

    Raises:
        AdapterError: a damaged zip, or one that unpacks to too much.
    """
    try:
        with zipfile.ZipFile(content) as archive:
            own = [item for item in archive.infolist() if not item.is_dir() and _is_part(Path(item.filename).name)]
            if sum(item.file_size for item in own) > MAX_BYTES:
                raise AdapterError(f"{name} unpacks to more than {MAX_MIB} MiB.")
            names = [_kept_name(item.filename) for item in own]
            if len(set(names)) < len(names):
                names = _below(item.filename for item in own)
            return {name: archive.read(item) for name, item in zip(names, own, strict=True)}
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, RuntimeError, NotImplementedError) as error:
        raise AdapterError(f"{name} cannot be unpacked: {error}.") from error
    except EOFError as error:
        raise AdapterError(f"{name} cannot be unpacked: it is cut short.") from error


def _below(names: Any) -> list[str]:
    """Return paths in a zip without what would lead out of a folder, and without the folders that all share."""
    parts = [[part for part in PurePosixPath(name).parts if part.strip("/\\.")] for name in names]
    while all(len(own) > 1 for own in parts) and len({own[0] for own in parts}) == 1:
        parts = [own[1:] for own in parts]
    return ["/".join(part.replace("\\", "_") for part in own) for own in parts]


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
