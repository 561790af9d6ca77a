"""What an import raises and returns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from analysis.outside import OutsideError


class LogImportError(OutsideError):
    """A log that cannot be imported."""


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
