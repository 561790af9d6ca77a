"""Where a log to be imported comes from: a path on this machine, or uploaded files in a folder of the session."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import streamlit as st

from analysis.importers import LogImportError
from analysis.importers.event_file import MAX_BYTES
from analysis.outside import existing
from files import Kept, Uploaded
from runs.store import named
from widgets import upload

MAX_MIB = MAX_BYTES >> 20
"""Of one uploaded file; the largest event file that is read."""

MAX_FILES = 50


class _Uploads(NamedTuple):
    ident: tuple[str, ...]
    files: Kept
    names: list[str]


class LogSource(NamedTuple):
    """A log that was named or uploaded.

    Attributes:
        path: where it lies.
        ident: differs whenever the log may.
        label: what a run made of it may be called.
        private: the session's folder that it was uploaded into, None for a path.
    """

    path: Path
    ident: tuple[object, ...]
    label: str
    private: Path | None = None

    def told(self, message: str) -> str:
        """Return a message in which uploaded files have the names that they were uploaded with."""
        if self.private is None:
            return message
        return message.replace(f"{self.private}/", "").replace(str(self.private), "What was uploaded")


def ask_log(version: int) -> LogSource | None:
    """Draw the two widgets that name a log; a fresh version empties them.

    Raises:
        LogImportError: a path that leads nowhere, or more files than a log has.
        OSError: the files cannot be kept, or the path cannot be looked at.
    """
    left, right = st.columns(2, vertical_alignment="top")
    with left:
        label = "Upload a log: one file, a zip of a run folder, or all files of one run"
        files = upload(label, f"runs_files_{version}", MAX_MIB)
    with right:
        typed = st.text_input(
            "or the path of a file or folder",
            key=f"runs_path_{version}",
            placeholder="on the machine that runs the Lab",
            help="A relative path begins in the Lab's own folder.",
        ).strip()
        if files and typed:
            st.caption("The uploaded files are taken. Remove them to take the path.")
    if files:
        return uploaded(files)
    return _named(typed) if typed else None


def uploaded(files: Sequence[Uploaded]) -> LogSource:
    """Write uploaded files into a folder that goes when the session does, or when others are uploaded.

    Raises:
        LogImportError: more files than a log has.
        OSError: the disk is full.
    """
    if len(files) > MAX_FILES:
        raise LogImportError(f"{len(files)} files were uploaded; at most {MAX_FILES} are taken. Zip a run folder.")
    ident = tuple(file.file_id for file in files)
    kept: _Uploads | None = st.session_state.get("runs_uploads")
    if kept is None or kept.ident != ident:
        forget()
        contents: dict[str, memoryview] = {}
        for file in files:
            contents[_plain_name(file.name, contents)] = file.getbuffer()
        kept = st.session_state["runs_uploads"] = _Uploads(ident, Kept(contents, "flexlora-log-"), list(contents))
    first, *others = kept.names
    folder = kept.files.folder
    return LogSource(folder if others else folder / first, ident, "upload" if others else Path(first).stem, folder)


def forget() -> None:
    """Remove what was uploaded."""
    kept: _Uploads | None = st.session_state.pop("runs_uploads", None)
    if kept is not None:
        kept.files.remove()


def _plain_name(name: str, taken: Collection[str]) -> str:
    """Return a name that any file system takes; the kind of a log may show in its name, so most of it stays."""
    base = re.sub(r"[^A-Za-z0-9._-]+", "_", Path(name.replace("\\", "/")).name)[-120:].lstrip(".") or "file"
    while base in taken:
        base = f"{len(taken)}_{base}"
    return base


def _named(typed: str) -> LogSource:
    path = existing(named(typed, LogImportError), LogImportError, "Give the file or folder of a log.")
    status = path.stat()
    return LogSource(path, (str(path), status.st_mtime_ns, status.st_size), path.resolve().stem)
