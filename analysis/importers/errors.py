"""What an import raises and returns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flexlora.errors import FlexLoRAError


class LogImportError(FlexLoRAError):
    """A log that cannot be imported: what was wrong, what was got, what is allowed, what to do.

    Always one line: names from a file may hold line breaks.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))


@dataclass(frozen=True)
class Imported:
    """A run folder that an import made.

    Attributes:
        folder: opens with ``analysis.runs.load_run``.
        kind: key of ``IMPORTERS``.
        matrices: how many.
        records: how many spectrum records.
        notices: one line for each thing of the log that is missing, odd or left out.
    """

    folder: Path
    kind: str
    matrices: int
    records: int
    notices: tuple[str, ...]


def shown(value: object) -> str:
    """Return the representation of a value from a file, short enough to quote."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"


def listed(names: list[str], most: int = 4) -> str:
    """Return some of the names, quoted, and how many more there are."""
    told = ", ".join(shown(name) for name in names[:most])
    return f"{told} and {len(names) - most} more" if len(names) > most else told
