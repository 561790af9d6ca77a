"""Studies that can be opened: the bundled ones and those beside the user's runs; how far each is."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Literal, NamedTuple

from flexlora.study.files import PARQUET, SPEC, SUMMARY
from jobs.live import LiveJob
from jobs.registry import REGISTRY
from runs.store import STUDIES, runs_root, samples_root

State = Literal["done", "waits", "under way", "interrupted"]


class StudyEntry(NamedTuple):
    """A study.

    Attributes:
        key: what a link calls it: the folder's name, with "runs/" before it for those beside the user's runs.
        folder: of the study.
    """

    key: str
    folder: Path

    @property
    def own(self) -> bool:
        """True for one that was made here, False for a bundled one."""
        return self.key.startswith("runs/")

    @property
    def live(self) -> LiveJob | None:
        """The job of this server that makes it, or will."""
        return REGISTRY.find(self.folder) if self.own else None

    @property
    def state(self) -> State:
        """How far it is."""
        if (live := self.live) is not None:
            return "under way" if live.launched else "waits"
        whole = (self.folder / SUMMARY).is_file() and (self.folder / PARQUET).is_file()
        return "done" if whole else "interrupted"


def study_entries() -> list[StudyEntry]:
    """Return every study: the bundled ones by name, then those beside the user's runs, newest first."""
    samples = sorted(_studies(samples_root() / STUDIES), key=lambda folder: folder.name)
    own = sorted(_studies(runs_root()), key=lambda folder: (folder / SPEC).stat().st_mtime, reverse=True)
    return [StudyEntry(folder.name, folder) for folder in samples] + [
        StudyEntry(f"runs/{folder.name}", folder) for folder in own
    ]


def find_study(key: str, entries: list[StudyEntry]) -> StudyEntry | None:
    """Return the study that an untrusted link names; None when it is not there."""
    return next((entry for entry in entries if entry.key == key), None)


def _studies(root: Path) -> list[Path]:
    found = []
    with contextlib.suppress(OSError):
        for folder in root.iterdir():
            if not folder.name.startswith(".") and (folder / SPEC).is_file():
                found.append(folder)
    return found
