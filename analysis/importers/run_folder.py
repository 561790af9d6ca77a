"""Run folders of our own, and a zip of one: copied file by file after they were checked. Nothing is executed."""

from __future__ import annotations

import contextlib
import lzma
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from analysis.importers.errors import Imported, LogImportError
from analysis.importers.mapping import FIELDS, Row, corrected_rows, matrix_table
from analysis.outside import listed, new_folder, shown
from flexlora.run_log import RunLog, RunLogError, read_header, read_run
from flexlora.run_log.format import CHECKSUMS, HEADER, LINES, SCALARS, SPECTRA, write_header

FILES = (HEADER, CHECKSUMS, SCALARS, SPECTRA, LINES)
"""What is copied, in this order: a log that still grows has the data for every checksum that was copied before it."""
ARROW = (SCALARS, SPECTRA)
MAX_BYTES = 1 << 30
MAX_UNPACKED = 2 << 30
"""Numbers in memory: 560 matrices of rank 64 take 0.3 GB over 2,000 records, three times that with σ and gates."""
MAX_ENTRIES = 10_000
MAX_RATIO = 500
"""Arrow files are packed already; a text log shrinks tenfold. Small members may shrink more."""
SMALL = 1 << 20

_MAGIC = (b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18")
"""How a zstd frame and an LZ4 frame begin: the packings that Arrow has. Eight bytes before stands the unpacked size."""
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_ZIP_FAULTS = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    NotImplementedError,
    UnicodeError,
)
_REFUSED = "Zip the run folder anew, with nothing else in it."


@dataclass(frozen=True)
class _Member:
    """One file of a run, wherever it lies."""

    name: str
    open: Callable[[], IO[bytes]]


def is_run_folder(path: Path) -> bool:
    """Tell whether a folder holds a run's header."""
    return path.is_dir() and (path / HEADER).exists()


def is_zip(path: Path) -> bool:
    """Tell whether a file begins like a zip archive."""
    if path.is_dir():
        return False
    with path.open("rb") as file:
        return file.read(4) in _ZIP


def folder_rows(path: Path) -> list[Row]:
    """Return the matrix table of a run folder as rows of a mapping.

    Raises:
        RunLogError: no run, or a damaged header.
    """
    return _rows(read_header(path)[0])


def zip_rows(path: Path) -> list[Row]:
    """Return the matrix table of the run in a zip as rows of a mapping.

    Raises:
        LogImportError: no run in it, more than one, or an archive that is refused.
        RunLogError: a damaged header.
    """
    with tempfile.TemporaryDirectory() as folder, _zip_members(path) as members:
        place = Path(folder)
        _copy([member for member in members if member.name == HEADER], place)
        with _named(place, path):
            return _rows(read_header(place)[0])


def import_folder(path: Path, out: Path, mapping: Iterable[Mapping[str, Any]] | None) -> Imported:
    """Copy a run folder into a new or empty one: the log, without checkpoint and adapter.

    ``mapping`` has rows with another ``layer``, ``module_type``, ``in_features`` or ``out_features``; names stay.

    Raises:
        LogImportError: a link among the files, too large, or ``out`` is taken.
        RunLogError: no run, or a damaged header.
    """
    real, target = path.resolve(), Path(out).resolve()
    if target.is_relative_to(real):
        raise LogImportError(f"{out} lies within {path}. Choose a folder outside it.")
    members = []
    for name in FILES:
        file = path / name
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISREG(file.lstat().st_mode):
                raise LogImportError(f"{file} is no plain file. Copy the file itself into the folder.")
            members.append(_Member(name, lambda file=file: file.open("rb")))
    left = sorted(entry.name for entry in path.iterdir() if entry.is_dir())
    return _import("run_folder", path, members, out, mapping, left)


def import_zip(path: Path, out: Path, mapping: Iterable[Mapping[str, Any]] | None) -> Imported:
    """Unpack the run in a zip, perhaps in a folder of it, into a new or empty folder.

    Only the files of a log are written, under their own names; ``mapping`` is that of ``import_folder``.

    Raises:
        LogImportError: no run or several, a path that leads out of the archive, a link, a member that is encrypted or
            unpacks to too much, a damaged archive, or ``out`` is taken.
        RunLogError: a damaged header.
    """
    with _zip_members(path) as members:
        return _import("run_zip", path, members, out, mapping, [])


def _import(
    kind: str,
    path: Path,
    members: list[_Member],
    out: Path,
    mapping: Iterable[Mapping[str, Any]] | None,
    left: list[str],
) -> Imported:
    with new_folder(out, LogImportError) as place:
        _copy(members, place)
        with _named(place, path):
            for name in ARROW:
                _refuse_arrow_bomb(place / name)
            log = read_run(place)
            _map(place, log, mapping)
    notices = list(log.notices)
    if left:
        notices.append(f"Only the log is copied, not {listed(left)}.")
    if log.end is None:
        notices.append("The log has no end: the run crashed, or was still running when it was copied.")
    return Imported(Path(out), kind, len(log.header["matrices"]), len(log.spectra_steps), tuple(notices))


def _map(place: Path, log: RunLog, mapping: Iterable[Mapping[str, Any]] | None) -> None:
    if mapping is None:
        return
    rows = corrected_rows(_rows(log.header), mapping)
    renamed = next((row for row in rows if row["name"] != row["source"]), None)
    if renamed is not None:
        raise LogImportError(
            f"The mapping renames {shown(renamed['source'])}. A run's events name its matrices: correct the other "
            f"fields, {', '.join(FIELDS[2:])}."
        )
    table = [{**own, **new} for own, new in zip(log.header["matrices"], matrix_table(rows), strict=True)]
    write_header(place, {**log.header, "matrices": table})


def _rows(header: dict[str, Any]) -> list[Row]:
    return [
        {"source": row["name"], **{key: row.get(key) for key in FIELDS if key != "source"}}
        for row in header["matrices"]
    ]


def _copy(members: list[_Member], place: Path) -> None:
    """Write the members into a folder, counting what is really read: a declared size may be a lie."""
    room = MAX_BYTES
    for member in members:
        with member.open() as source, (place / member.name).open("wb") as target:
            while block := source.read(1 << 20):
                room -= len(block)
                if room < 0:
                    raise LogImportError(f"The run takes more than {MAX_BYTES >> 20} MiB: it is not imported.")
                target.write(block)


@contextlib.contextmanager
def _zip_members(path: Path) -> Iterator[list[_Member]]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield _checked_members(path, archive)
    except _ZIP_FAULTS as error:
        raise LogImportError(f"{path.name} is no readable zip: {error}. {_REFUSED}") from error


def _checked_members(path: Path, archive: zipfile.ZipFile) -> list[_Member]:
    entries = archive.infolist()
    if len(entries) > MAX_ENTRIES:
        raise LogImportError(f"{path.name} holds {len(entries)} files; a run has few. {_REFUSED}")
    for entry in entries:
        _check_entry(path, entry)
    folders = sorted({str(PurePosixPath(e.filename).parent) for e in entries if _is_header(e)})
    if len(folders) != 1:
        told = f"{len(folders)} runs: {listed(folders)}" if folders else f"no {HEADER}"
        raise LogImportError(f"{path.name} holds {told}. Give the zip of one run folder.")
    found: dict[str, zipfile.ZipInfo] = {}
    for entry in entries:
        place = PurePosixPath(entry.filename)
        if str(place.parent) == folders[0] and place.name in FILES and not entry.is_dir():
            if place.name in found:
                raise LogImportError(f"{path.name} holds {entry.filename} twice. {_REFUSED}")
            found[place.name] = entry
    total = sum(entry.file_size for entry in found.values())
    if total > MAX_BYTES:
        raise LogImportError(f"{path.name} unpacks to {total >> 20} MiB; at most {MAX_BYTES >> 20} MiB are imported.")
    return [_Member(name, lambda entry=found[name]: archive.open(entry)) for name in FILES if name in found]


def _is_header(entry: zipfile.ZipInfo) -> bool:
    place = PurePosixPath(entry.filename)
    return place.name == HEADER and "__MACOSX" not in place.parts and not entry.is_dir()


def _check_entry(path: Path, entry: zipfile.ZipInfo) -> None:
    name = entry.orig_filename
    parts = name.replace("\\", "/").split("/")
    told = f"{path.name} holds {shown(name)}"
    if name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0] or "\0" in name:
        raise LogImportError(f"{told}, a path that leads out of the archive: refused. {_REFUSED}")
    mode = entry.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise LogImportError(f"{told}, a link or device: refused. {_REFUSED}")
    if entry.flag_bits & 0x1:
        raise LogImportError(f"{told}, which is encrypted. Zip the run folder without a password.")
    if entry.file_size > SMALL and entry.file_size > MAX_RATIO * max(1, entry.compress_size):
        raise LogImportError(
            f"{told}, which unpacks from {entry.compress_size} to {entry.file_size} bytes: refused. {_REFUSED}"
        )


def _refuse_arrow_bomb(file: Path) -> None:
    """Refuse an Arrow file whose packed numbers would fill the memory: the sizes are told before they are unpacked."""
    if not file.exists():
        return
    data, total = file.read_bytes(), 0
    for magic in _MAGIC:
        place = data.find(magic)
        while place >= 0:
            # Beyond 2⁴⁸ it is no size but chance, or one for which no memory is ever given.
            size = int.from_bytes(data[max(0, place - 8) : place], "little", signed=True)
            total += size if 0 < size < 1 << 48 else 0
            place = data.find(magic, place + 1)
    if total > MAX_UNPACKED:
        raise LogImportError(f"{file.name} unpacks to {total >> 20} MiB in memory: refused. No run holds as much.")


@contextlib.contextmanager
def _named(place: Path, path: Path) -> Iterator[None]:
    """Name the file that was given in errors about the place that it was copied to."""
    try:
        yield
    except RunLogError as error:
        raise RunLogError(str(error).replace(str(place), str(path))) from error
