"""The line on disk: a server that dies leaves in it who waited for what, so that the next one can offer it again."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from flexlora.errors import FlexLoRAError
from flexlora.job import Job
from flexlora.run_log.disk import put_bytes
from flexlora.study.files import LOCK, SPEC
from jobs.live import LiveJob, Request
from jobs.owner import OWNER_FILE
from jobs.study_job import StudyJob

QUEUE = ".queue.json"
"""Beside the runs."""
MAX_OFFERS = 64
"""Some are never asked for again: their browser has forgotten who it was."""


class Offer(NamedTuple):
    """What waited when a server died: the key of whoever asked for it, and what was asked for."""

    owner: str
    request: Request


def write_queue(root: Path, waiting: Iterable[LiveJob], offers: Sequence[Offer]) -> None:
    """Keep who waits, and what is still on offer; a disk that takes nothing costs no more than the offers.

    A study that waits is on disk already: Compare offers to go on with what is in its folder.
    """
    entries = [_entry(offer.owner, offer.request, offer.request.folder) for offer in offers][-MAX_OFFERS:]
    entries += [_entry(live.owner.key if live.owner.lasting else None, live.request, live.folder) for live in waiting]
    entries = [entry for entry in entries if entry is not None]
    with contextlib.suppress(OSError):
        if entries:
            put_bytes(root / QUEUE, json.dumps(entries).encode())
        else:
            (root / QUEUE).unlink(missing_ok=True)


def read_queue(root: Path) -> list[Offer]:
    """Return what waited when the last server died; folders that were kept for new runs are given back.

    What cannot be read, or what this version does not know, is left out.
    """
    try:
        entries = json.loads((root / QUEUE).read_bytes())
    except (OSError, ValueError, RecursionError):
        return []
    offers = []
    for entry in entries if isinstance(entries, list) else ():
        with contextlib.suppress(FlexLoRAError, KeyError, TypeError, ValueError):
            offers.append(_offer(root, entry))
    return offers


def give_back(folder: Path) -> None:
    """Remove a folder that was kept for a run which has written nothing."""
    with contextlib.suppress(OSError):
        if {path.name for path in folder.iterdir()} <= {OWNER_FILE, SPEC, LOCK}:
            for name in (OWNER_FILE, SPEC, LOCK):
                (folder / name).unlink(missing_ok=True)
            folder.rmdir()


def _entry(owner: str | None, request: Request, folder: Path | None) -> dict[str, Any] | None:
    if isinstance(request.job, StudyJob):
        return None
    return {
        "owner": owner,
        "job": request.job.to_dict(),
        "parent": request.parent,
        "paused": request.paused,
        "resume": request.folder is not None,
        "folder": folder.name if folder else None,
    }


def _offer(root: Path, entry: dict[str, Any]) -> Offer:
    name, parent = entry["folder"], entry["parent"]
    if name is not None and (name != Path(name).name or name in ("", ".", "..")):
        raise ValueError("no name of a run")
    folder = root / name if name is not None else None
    if folder is not None and not entry["resume"]:
        give_back(folder)
        folder = None
    if entry["owner"] is None:
        raise ValueError("its owner will not come back")
    request = Request(Job.from_dict(entry["job"]), parent and str(parent), bool(entry["paused"]), folder)
    return Offer(str(entry["owner"]), request)
