"""Zips of adapters: which of their files are unpacked, and to where; nothing leads out of the folder."""

from __future__ import annotations

import lzma
import shutil
import zipfile
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from analysis.adapters.files import AdapterError
from analysis.adapters.layout import MAX_HEADER_BYTES
from analysis.outside import first_line, shown
from flexlora.placeholders import pointer_or_page

SUFFIXES = (".safetensors", ".gguf")
"""Of files of weights."""
MAX_UNPACKED = 8 << 30
MOST_RATIO = 200
"""Weights hardly shrink in a zip; what shrinks further than this and is large holds nothing but zeros."""
SMALL = 64 << 20
"""Bytes that may shrink as far as they like: an adapter that was never trained is half zeros."""
MOST_NAME = 255
"""Bytes of a name that file systems allow."""

_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, RuntimeError, NotImplementedError, EOFError)


def zip_names(source: Path | BinaryIO, name: str) -> list[str]:
    """Return the paths that ``unpack`` would write, without unpacking anything.

    Raises:
        AdapterError: as ``unpack``.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            return [path for path, _ in _parts(archive, name)]
    except _DAMAGED as error:
        raise _unreadable(source, name, error) from error


def unpack(source: Path | BinaryIO, name: str, folder: Path, most: int = MAX_UNPACKED) -> None:
    """Write weights and configurations of a zip below a folder, under their own names.

    Folders that all of them share are left out, and so is whatever would lead out of the folder.

    Args:
        source: the zip.
        name: as messages call it.
        folder: where to.
        most: bytes of it all.

    Raises:
        AdapterError: a damaged or encrypted zip, one without weights or with two files of one name, or one that unpacks
            to too much.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            parts = _parts(archive, name)
            _check_sizes(archive, parts, name, most)
            for path, item in parts:
                place = folder / path
                place.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(item) as packed, place.open("wb") as file:
                    shutil.copyfileobj(packed, file, 1 << 20)
    except _DAMAGED as error:
        raise _unreadable(source, name, error) from error


def _parts(archive: zipfile.ZipFile, name: str) -> list[tuple[str, zipfile.ZipInfo]]:
    """Return path below the folder → member of weights and configurations."""
    # Zips from Windows may part folders by the other stroke.
    all_paths = [(item.filename.replace("\\", "/"), item) for item in archive.infolist()]
    wanted = [(path, item) for path, item in all_paths if _is_part(path)]
    if not any(path.lower().endswith(SUFFIXES) for path, _ in wanted):
        held = ", ".join(path[:60] for path, _ in all_paths[:6]) or "nothing"
        raise AdapterError(f"No weights in {name}: it holds no safetensors or GGUF file, but {held}.")
    if any(item.flag_bits & 1 for _, item in wanted):
        raise AdapterError(f"{name} is encrypted. Unpack it with its password, and give the folder.")
    paths = _below([path for path, _ in wanted])
    twice = next((path for path, count in Counter(paths).items() if count > 1), None)
    if twice is not None:
        raise AdapterError(f"{name} holds {twice} twice: which of them counts is not known. Pack it anew.")
    long = next((part for path in paths for part in path.split("/") if len(part.encode()) > MOST_NAME), None)
    if long is not None:
        raise AdapterError(f"{name} holds a file or folder named {shown(long)}: at most {MOST_NAME} bytes are allowed.")
    return list(zip(paths, (item for _, item in wanted), strict=True))


def _is_part(path: str) -> bool:
    own = path.rpartition("/")[2]
    # What macOS puts beside each file begins with "._", in a folder of its own.
    if own.startswith("._") or "__MACOSX" in path.split("/"):
        return False
    return own.lower().endswith((*SUFFIXES, ".json"))


def _below(paths: Sequence[str]) -> list[str]:
    """Return paths without what leads out of a folder, and without the folders that all share."""
    parts = [[part for part in path.split("/") if part.strip(". ")] for path in paths]
    while all(len(own) > 1 for own in parts) and len({own[0] for own in parts}) == 1:
        parts = [own[1:] for own in parts]
    return ["/".join(own) for own in parts]


def _check_sizes(archive: zipfile.ZipFile, parts: Sequence[tuple[str, zipfile.ZipInfo]], name: str, most: int) -> None:
    """Refuse what is too large, or no weights, before it fills the disk."""
    if sum(item.file_size for _, item in parts) > most:
        allowed = f"{most >> 30} GiB" if most >= 1 << 30 else f"{most >> 20} MiB"
        raise AdapterError(
            f"{name} unpacks to more than {allowed}. Unpack it yourself, and give the folder by its path."
        )
    for path, item in parts:
        # A small one is unpacked and told by its own name, beside the others.
        if item.file_size <= SMALL:
            continue
        if item.file_size > MOST_RATIO * item.compress_size:
            raise AdapterError(
                f"{path} in {name} unpacks to {item.file_size >> 20} MiB, more than {MOST_RATIO} times what is packed: "
                "no weights shrink so far."
            )
        if path.lower().endswith(".safetensors"):
            with archive.open(item) as file:
                length, begin = int.from_bytes(file.read(8), "little"), file.read(1)
            if not 0 < length <= MAX_HEADER_BYTES or begin != b"{":
                raise AdapterError(f"{path} in {name} is no safetensors file: its first bytes are those of none.")


def _unreadable(source: Path | BinaryIO, name: str, error: Exception) -> AdapterError:
    told = pointer_or_page(source) if isinstance(source, Path) else None
    reason = "it is cut short" if isinstance(error, EOFError) else first_line(error)
    return AdapterError(told or f"{name} cannot be unpacked: {reason}. Download or pack it again.")
