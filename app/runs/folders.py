"""What can be done to a folder of a run: rename, trash, restore, duplicate, import, pack. Nothing is half done."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import re
import shutil
import tempfile
import time
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from analysis.importers import Imported, import_log
from analysis.importers.run_folder import FILES
from flexlora.errors import FlexLoRAError
from flexlora.run_log import RunLogError, find_runs, glance_run, read_header, run_state
from flexlora.run_log.format import HEADER, write_header
from jobs.owner import Action, Owner, may, read_owner, refusal
from jobs.registry import REGISTRY
from runs.rows import disk_use

TRASH = ".trash"
"""Folder of removed runs, beside the runs: each lies alone in a folder named after the time of its removal."""

STAMP = "%Y%m%dT%H%M%S"

MAX_NAME = 80
ALLOWED = (
    f"A name is made of letters a–z and A–Z, digits and . _ - (at most {MAX_NAME}), begins with a letter or a digit "
    "and does not end with a dot."
)
_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{MAX_NAME - 1}}}")
_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10))}


class RunFolderError(FlexLoRAError):
    """A folder stays as it is; the message is one line that says why and what can be done."""


class Trashed(NamedTuple):
    """A run in the trash.

    Attributes:
        folder: where it lies now.
        name: what it is called, and will be again.
        removed: when, as a person reads it.
        disk_bytes: what deleting it would free.
    """

    folder: Path
    name: str
    removed: str
    disk_bytes: int


def check_name(root: Path, name: str) -> str:
    """Return a name that a new run in ``root`` can have, without the blanks around it.

    Raises:
        RunFolderError: not a name that every file system takes, or one that is taken.
    """
    name = name.strip()
    if not _NAME.fullmatch(name) or name.endswith("."):
        raise RunFolderError(f"{name[:MAX_NAME]!r} cannot be the name of a run. {ALLOWED}")
    if name.split(".")[0].lower() in _DEVICES:
        raise RunFolderError(f"{name!r} is the name of a device on Windows. Choose another.")
    if name.casefold() in _taken(root):
        raise RunFolderError(f"There is a run or folder named {name!r} already. Choose another name.")
    return name


def free_name(root: Path, wanted: str) -> str:
    """Return a name that a new run in ``root`` can have, as near to ``wanted`` as possible."""
    base = re.sub(r"[^A-Za-z0-9._-]+", "-", wanted).strip("._-")[: MAX_NAME - 5].rstrip(".") or "run"
    base = f"run-{base}" if base.split(".")[0].lower() in _DEVICES else base
    taken = _taken(root)
    names = itertools.chain([base], (f"{base}-{number}" for number in itertools.count(2)))
    return next(name for name in names if name.casefold() not in taken)


def rename(root: Path, folder: Path, new_name: str, by: Owner) -> Path:
    """Rename a run: its folder, its header, and in the headers of runs made from it; return the new folder.

    Raises:
        RunFolderError: the name cannot be used, or the run must not be touched now.
    """
    _check_movable(root, folder, by, "rename")
    if new_name.strip() == folder.name:
        return folder
    target = root / check_name(root, new_name)
    _move(folder, target)
    try:
        _edit_header(target, name=target.name)
    except (OSError, RunLogError) as error:
        _move(target, folder)
        raise RunFolderError(f"{folder.name} keeps its name: its header cannot be written ({error}).") from error
    _name_parent(root, folder.name, target.name)
    return target


def to_trash(root: Path, folder: Path, by: Owner) -> Trashed:
    """Move a run into the trash; nothing is deleted.

    Raises:
        RunFolderError: the run must not be touched now.
    """
    _check_movable(root, folder, by, "remove")
    trash = _trash(root)
    try:
        trash.mkdir(exist_ok=True)
        place = Path(tempfile.mkdtemp(prefix=time.strftime(f"{STAMP}-"), dir=trash))
    except OSError as error:
        raise RunFolderError(f"{folder.name} stays: the trash cannot be written ({error.strerror}).") from error
    try:
        _move(folder, place / folder.name)
    except RunFolderError:
        place.rmdir()
        raise
    return _trashed(place / folder.name)


def in_trash(root: Path, by: Owner) -> list[Trashed]:
    """Return what somebody may take from the trash, the last removed first; what cannot be looked at is left out."""
    trash, found = root / TRASH, []
    if trash.is_symlink():
        return []
    with contextlib.suppress(OSError):
        for place in sorted(trash.iterdir(), reverse=True):
            with contextlib.suppress(OSError):
                folders = [folder for folder in sorted(place.iterdir()) if folder.is_dir()]
                found += [_trashed(folder) for folder in folders if may(by, "remove", read_owner(folder))]
    return found


def restore(root: Path, folder: Path, by: Owner) -> Path:
    """Move a run from the trash back to where it was; return its folder.

    Raises:
        RunFolderError: it is no longer in the trash, is somebody else's, or another run has its name by now.
    """
    _check_trashed(root, folder, by)
    target = root / folder.name
    if folder.name.casefold() in _taken(root):
        raise RunFolderError(f"Another run is named {folder.name} by now. Rename that one, then restore this one.")
    _move(folder, target)
    folder.parent.rmdir()
    return target


def delete_for_ever(root: Path, folders: Iterable[Path], by: Owner) -> int:
    """Delete runs in the trash; return how many bytes that freed. Ask before: nothing brings them back.

    Raises:
        RunFolderError: one of them is not in the trash, is somebody else's, or cannot be deleted; those before it are
            gone.
    """
    freed = 0
    for folder in folders:
        _check_trashed(root, folder, by)
        size = disk_use(folder)
        try:
            shutil.rmtree(folder)
            folder.parent.rmdir()
        except OSError as error:
            raise RunFolderError(f"{folder.name} cannot be deleted: {error.strerror} ({error.filename}).") from error
        freed += size
    return freed


def duplicate(root: Path, folder: Path, name: str) -> Path:
    """Copy the log of a run to a new run of the user's, without checkpoint and adapter; return its folder.

    Raises:
        FlexLoRAError: the name cannot be used, or the log cannot be copied.
        RunLogError: its header is damaged.
    """
    return import_run(root, folder, name, None).folder


def import_run(root: Path, path: Path, name: str, mapping: Iterable[Mapping[str, Any]] | None) -> Imported:
    """Import a log from elsewhere as a run of the user's, called ``name``, below ``root``; made whole or not at all.

    Raises:
        FlexLoRAError: the name, the log or the mapping (that of ``import_log``) cannot be used.
        RunLogError: a run with a damaged header, or a disk that is full.
    """
    done = import_log(path, root / check_name(root, name), mapping)
    _edit_header(done.folder, name=done.folder.name)
    return done


def pack(folder: Path) -> bytes:
    """Return a zip of the log of a run, as the importer takes it: without checkpoint and adapter.

    Raises:
        RunFolderError: the log cannot be read.
    """
    buffer = io.BytesIO()
    try:
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1, strict_timestamps=False) as archive:
            # Checksums come before the data, as the importer copies them: a live log has the data for each of them.
            for name in FILES:
                if (folder / name).is_file():
                    archive.write(folder / name, f"{folder.name}/{name}")
    except OSError as error:
        raise RunFolderError(f"{folder.name} cannot be packed: {error.strerror or error}.") from error
    return buffer.getvalue()


def why_not_movable(root: Path, folder: Path, by: Owner, action: Action) -> str | None:
    """Return why somebody can not rename or remove a run now, in one line; None when they can."""
    if folder.parent.resolve() != root.resolve():
        return f"{folder.name} is a bundled run and stays as it is. Duplicate it, and change the copy."
    if folder.is_symlink():
        return f"{folder.name} is a link to a folder elsewhere. Rename or remove it there."
    if not folder.is_dir():
        return f"{folder.name} is not there any more."
    reason = refusal(by, action, folder)
    return reason or _why_in_use(folder)


def _why_in_use(folder: Path) -> str | None:
    if (live := REGISTRY.find(folder)) is not None:
        return f"{folder.name} is {'being trained' if live.launched else 'in line'} here. Stop it on Train first."
    try:
        running = run_state(folder, glance_run(folder).end) == "running"
    except RunLogError:
        # A damaged run may be moved unless somebody writes it.
        running = run_state(folder, None) == "running"
    return f"{folder.name} is being written by a process that lives. Stop it first." if running else None


def _check_movable(root: Path, folder: Path, by: Owner, action: Action) -> None:
    reason = why_not_movable(root, folder, by, action)
    if reason is not None:
        raise RunFolderError(reason)


def _check_trashed(root: Path, folder: Path, by: Owner) -> None:
    if folder.parent.parent != _trash(root) or folder.is_symlink() or not folder.is_dir():
        raise RunFolderError(f"{folder.name} is not in the trash any more.")
    reason = refusal(by, "remove", folder)
    if reason is not None:
        raise RunFolderError(reason)


def _trash(root: Path) -> Path:
    trash = root / TRASH
    if trash.is_symlink():
        raise RunFolderError(f"{TRASH} among the runs is a link. Replace it with a folder, or remove it.")
    return trash


def _trashed(folder: Path) -> Trashed:
    stamp = folder.parent.name.split("-")[0]
    try:
        removed = time.strftime("%Y-%m-%d %H:%M", time.strptime(stamp, STAMP))
    except ValueError:
        removed = "some time ago"
    return Trashed(folder, folder.name, removed, disk_use(folder))


def _taken(root: Path) -> set[str]:
    """Names in use, without regard to case: some file systems have none."""
    return {path.name.casefold() for path in root.iterdir()} if root.is_dir() else set()


def _move(folder: Path, target: Path) -> None:
    try:
        # Within one file system a rename is all or nothing; it would replace an empty folder, so none may be there.
        if os.path.lexists(target):
            raise RunFolderError(f"{target.name} exists already. Choose another name.")
        folder.rename(target)
    except OSError as error:
        raise RunFolderError(f"{folder.name} cannot be moved: {error.strerror or error}.") from error


def _name_parent(root: Path, old: str, new: str) -> None:
    """Let runs that were made from a renamed one name it as it is called now: What-if finds them by that."""
    for folder in find_runs(root):
        try:
            made_from = None if folder.is_symlink() else read_header(folder)[0].get("parent")
            if made_from == old and _why_in_use(folder) is None:
                _edit_header(folder, parent=new)
        except (OSError, RunLogError):
            continue


def _edit_header(folder: Path, **changes: str) -> None:
    """Change fields of a header; one whose checksum fails is left alone, or it would look intact."""
    file = folder / HEADER
    before = file.stat()
    try:
        header, notices = read_header(folder)
    except RunLogError:
        return
    edited = {**header, **changes}
    if notices or edited == header:
        return
    write_header(folder, edited)
    # Runs are listed by the time of their header: a nanosecond more keeps the order, and caches notice.
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
