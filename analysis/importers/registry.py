"""The kinds of logs that can be imported, and the two functions that find the kind themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from analysis.importers.checkpoints import KIND, checkpoint_rows, import_checkpoints, is_checkpoints
from analysis.importers.errors import Imported, LogImportError
from analysis.importers.history import RankHistory, write_history
from analysis.importers.mapping import Row, corrected_rows, proposed_rows
from analysis.importers.peft_result import is_peft_result, read_peft_result
from analysis.importers.playground import import_playground, is_playground, playground_rows
from analysis.importers.rank_csv import is_rank_log, read_rank_log
from analysis.importers.run_folder import folder_rows, import_folder, import_zip, is_run_folder, is_zip, zip_rows
from analysis.importers.tensorboard_events import is_adalora_log, read_adalora_log
from analysis.outside import existing, expanded, new_folder

Mappings: TypeAlias = Iterable[Mapping[str, Any]]


@dataclass(frozen=True)
class Importer:
    """One kind of log.

    Attributes:
        title: what it is, for a person.
        detect: path → whether it looks like this kind.
        propose: path → rows of the mapping, one a matrix.
        convert: (path, out, mapping or None) → what was imported.
    """

    title: str
    detect: Callable[[Path], bool]
    propose: Callable[[Path], list[Row]]
    convert: Callable[[Path, Path, Mappings | None], Imported]


def _ranks_only(kind: str, title: str, detect: Callable[[Path], bool], read: Callable[[Path], RankHistory]) -> Importer:
    """Return an importer of logs that tell ranks and not λ."""

    def propose(path: Path) -> list[Row]:
        return proposed_rows(read(path).sources)

    def convert(path: Path, out: Path, mapping: Mappings | None) -> Imported:
        history = read(path)
        rows = corrected_rows(proposed_rows(history.sources), mapping)
        with new_folder(out, LogImportError) as folder:
            records = write_history(folder, history, rows, kind)
        return Imported(Path(out), kind, len(rows), records, tuple(history.notices))

    return Importer(title, detect, propose, convert)


IMPORTERS: dict[str, Importer] = {
    "run_folder": Importer("a run folder of the Lab", is_run_folder, folder_rows, import_folder),
    "run_zip": Importer("a zip of a run folder", is_zip, zip_rows, import_zip),
    KIND: Importer("checkpoints of a PEFT training", is_checkpoints, checkpoint_rows, import_checkpoints),
    "playground": Importer("a run saved in the Playground", is_playground, playground_rows, import_playground),
    "rank_log_csv": _ranks_only(
        "rank_log_csv", "the rank_log.csv of the released FlexLoRA code", is_rank_log, read_rank_log
    ),
    "adalora_tensorboard": _ranks_only(
        "adalora_tensorboard", "TensorBoard event files of AdaLoRA", is_adalora_log, read_adalora_log
    ),
    "peft_result": _ranks_only(
        "peft_result", "an AdaLoRA result of PEFT's method comparison", is_peft_result, read_peft_result
    ),
}
"""Kind → importer. A run folder comes first: what else lies in it does not make it another kind."""


def detect_kind(path: str | Path) -> str:
    """Return the key of ``IMPORTERS`` that a file or folder is of.

    Raises:
        LogImportError: nothing there, of no known kind, or of two.
    """
    path = _existing(path)
    with _told(path):
        found = [kind for kind, importer in IMPORTERS.items() if importer.detect(path)]
    if "run_folder" in found:
        return "run_folder"
    if len(found) > 1:
        raise LogImportError(
            f"{path} holds {' and '.join(IMPORTERS[kind].title for kind in found)}. Give the path of one of them."
        )
    if not found:
        allowed = "; ".join(importer.title for importer in IMPORTERS.values())
        raise LogImportError(f"{path} is no log that can be imported: {_glimpse(path)}. What can be: {allowed}.")
    return found[0]


def propose_mapping(path: str | Path) -> list[Row]:
    """Return which matrix each column or tag of a log stands for, as far as its name tells.

    Returns:
        One row a matrix, in the log's order, with the keys ``FIELDS``: ``source`` (the name in the log), ``name``,
        ``layer`` (None without a number in the name), ``module_type``, ``in_features`` and ``out_features`` (None =
        unknown). Correct any but ``source`` and pass the rows to ``import_log``.

    Raises:
        LogImportError: of no known kind, or damaged.
        RunLogError: a run folder whose header is damaged.
    """
    kind = detect_kind(path)
    path = _existing(path)
    with _told(path):
        return IMPORTERS[kind].propose(path)


def import_log(path: str | Path, out: str | Path, mapping: Mappings | None = None) -> Imported:
    """Turn a log from elsewhere into a run folder. Its kind is found by ``IMPORTERS``.

    A log of ranks gives a run whose λ are NaN, as many as there are directions: nothing is invented.

    Args:
        path: the log; it is not changed.
        out: a new or empty folder; made whole or not at all.
        mapping: rows of ``propose_mapping``, corrected; None = as proposed.

    Raises:
        LogImportError: the log, the mapping or ``out`` cannot be used.
        RunLogError: a run folder whose header is damaged, or a disk that is full.
    """
    kind = detect_kind(path)
    path = _existing(path)
    with _told(path):
        return IMPORTERS[kind].convert(path, expanded(out, LogImportError), mapping)


def _existing(path: str | Path) -> Path:
    found = existing(path, LogImportError, "Give the file or folder of a log.")
    if not found.is_dir() and not found.is_file():
        raise LogImportError(f"{path} is neither a file nor a folder. Give one that holds a log.")
    return found


def _glimpse(path: Path) -> str:
    """Say what is there instead of a log, and nothing of its content: whoever reads this may not be let in there."""
    kind, empty = ("folder", not any(path.iterdir())) if path.is_dir() else ("file", not path.stat().st_size)
    return f"an empty {kind}" if empty else f"a {kind} of another kind"


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Say of a file that cannot be read which log it belongs to."""
    try:
        yield
    except OSError as error:
        at = f" ({error.filename})" if error.filename and str(error.filename) != str(path) else ""
        raise LogImportError(f"{path} cannot be imported: {error.strerror or error}{at}.") from error
