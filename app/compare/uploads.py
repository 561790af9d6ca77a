"""Uploaded files as a folder of the session: what is in a zip lies beside what is not."""

from __future__ import annotations

import io
import lzma
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from files import Kept, Uploaded
from flexlora.errors import FlexLoRAError

MAX_FILES = 5000


def keep_files(key: str, files: Sequence[Uploaded], max_mib: int) -> Path:
    """Write uploaded JSON files, and those in uploaded zips, into a folder that goes with the session; return it.

    Names are numbered, so that none leads elsewhere and two of one name both stay.

    Raises:
        FlexLoRAError: a zip that cannot be unpacked, or too much in it.
        OSError: the disk is full.
    """
    kept: dict[str, Kept] = st.session_state.setdefault(f"{key}_kept", {})
    ident = "+".join(file.file_id for file in files)
    if ident not in kept:
        found: list[tuple[str, bytes]] = []
        for file in files:
            if file.name.lower().endswith(".zip"):
                found += _unzipped(file, max_mib)
            else:
                found.append((file.name, bytes(file.getbuffer())))
        kept.clear()
        kept[ident] = Kept(
            {f"{place:04}-{_short(name)}": content for place, (name, content) in enumerate(found)}, "up-"
        )
    return kept[ident].folder


def _unzipped(file: Uploaded, max_mib: int) -> list[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(io.BytesIO(file.getbuffer())) as archive:
            own = [item for item in archive.infolist() if item.filename.endswith(".json")]
            if len(own) > MAX_FILES or sum(item.file_size for item in own) > max_mib << 20:
                raise FlexLoRAError(f"{file.name} unpacks to more than {MAX_FILES:,} files or {max_mib} MiB.")
            return [(item.filename, archive.read(item)) for item in own]
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, RuntimeError, NotImplementedError, EOFError) as error:
        raise FlexLoRAError(f"{file.name} cannot be unpacked: {error}.") from error


def _short(name: str) -> str:
    stem = "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in Path(name).name)
    return stem.encode("ascii", "replace").decode().replace("?", "-")[-120:]
