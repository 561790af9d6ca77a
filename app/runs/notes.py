"""Tags and a note on a run: a small file beside its log, which no part of the log knows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from flexlora.errors import FlexLoRAError
from flexlora.run_log.disk import put_bytes
from jobs.owner import Owner, refusal

NOTES_FILE = "notes.json"
"""In a run folder. Without it, or with a damaged one, a run has neither tags nor a note."""
MAX_TAGS, MAX_TAG, MAX_NOTE = 12, 30, 2000


@dataclass(frozen=True)
class Notes:
    """What people say of a run; ``tags`` in their order, each once."""

    tags: tuple[str, ...] = ()
    note: str = ""


def read_notes(folder: Path) -> Notes:
    """Return what is said of a run; what cannot be read is nothing."""
    try:
        content = json.loads((folder / NOTES_FILE).read_bytes())
        tags, note = content.get("tags"), content.get("note")
    except (OSError, ValueError, AttributeError, RecursionError):
        return Notes()
    known = [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []
    try:
        return Notes(parse_tags(",".join(known)), note[:MAX_NOTE] if isinstance(note, str) else "")
    except FlexLoRAError:
        return Notes()


def write_notes(folder: Path, notes: Notes, by: Owner) -> None:
    """Say this of a run from now on; with nothing to say the file goes.

    Raises:
        FlexLoRAError: the run is somebody else's, the note is too long, or the disk takes nothing.
    """
    if reason := refusal(by, "annotate", folder):
        raise FlexLoRAError(reason)
    if len(notes.note) > MAX_NOTE:
        raise FlexLoRAError(f"A note has at most {MAX_NOTE:,} characters; this one has {len(notes.note):,}.")
    try:
        if notes == Notes():
            (folder / NOTES_FILE).unlink(missing_ok=True)
        else:
            put_bytes(folder / NOTES_FILE, json.dumps({"tags": notes.tags, "note": notes.note}).encode())
    except OSError as error:
        raise FlexLoRAError(f"{folder.name} cannot be written: {error.strerror or error}.") from error


def parse_tags(text: str) -> tuple[str, ...]:
    """Return tags that were typed with commas between them, each once, without the blanks around them.

    Raises:
        FlexLoRAError: too many, or one that is too long or cannot be read.
    """
    found = tuple(dict.fromkeys(tag for part in text.split(",") if (tag := " ".join(part.split()))))
    for tag in found:
        if len(tag) > MAX_TAG or not tag.isprintable():
            raise FlexLoRAError(
                f"A tag has at most {MAX_TAG} characters on one line, which {tag[:MAX_TAG]!r}… has not."
            )
    if len(found) > MAX_TAGS:
        raise FlexLoRAError(f"A run has at most {MAX_TAGS} tags; these are {len(found)}.")
    return found
