"""``write_archive``: one zip of a study or of a set of runs, entry by entry; the same content, the same bytes."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from analysis.study.claims import claims
from analysis.study.compare import Compared, StudyTable, compare_study
from analysis.study.groups import Group, study_groups
from analysis.study.headline import headline
from analysis.study.write import caption, comparison_csv, latex_table, markdown_table
from flexlora.errors import FlexLoRAError
from flexlora.run_log.format import HEADER
from flexlora.study.files import COSTS, FROZEN, PARQUET, SPEC, SUMMARY, TABLE, json_bytes
from flexlora.study.table import csv_bytes, parquet_bytes

OLDEST = (1980, 1, 1, 0, 0, 0)
"""The date of every entry, the earliest that a zip can hold: when it was packed says nothing."""


def write_archive(
    target: Path,
    study: StudyTable,
    groups: Sequence[Group] | None = None,
    *,
    margin: float | None = None,
    drawn: Path | None = None,
) -> list[str]:
    """Write a zip with table, comparison, claims, study file, choices, and header and figures of the runs.

    Figures are in it as Plotly's JSON, which needs no browser; with ``drawn`` also as they were drawn there.

    Args:
        target: file to write; it is there as a whole or not at all.
        study: its table.
        groups: its runs; None = those of its folder.
        margin: a difference smaller than this would not matter; None = the study's.
        drawn: folder in which ``write_figures`` wrote.

    Returns:
        The names of its entries.

    Raises:
        FlexLoRAError: the file cannot be written.
        RunLogError: a run cannot be read.
    """
    groups = study_groups(study) if groups is None else groups
    found = compare_study(study, margin=margin)
    temporary = target.with_name(f".{target.name}.tmp")
    names = []
    try:
        with temporary.open("wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
            for name, content in _entries(study, found, groups, margin, drawn):
                names.append(name)
                entry = zipfile.ZipInfo(name, OLDEST)
                entry.compress_type = zipfile.ZIP_DEFLATED
                with archive.open(entry, "w") as sink:
                    _copy(content, sink)
        temporary.replace(target)
    except OSError as error:
        raise FlexLoRAError(f"{target} cannot be written: {error.strerror or error}.") from error
    finally:
        temporary.unlink(missing_ok=True)
    return names


def comparison_files(study: StudyTable, found: Sequence[Compared], margin: float | None = None) -> dict[str, bytes]:
    """Return the comparison as ``comparison.csv``, ``.md`` and ``.tex``, name → content."""
    texts = {"csv": comparison_csv(found), "md": f"{comparison_text(study, found, margin)}\n"}
    texts["tex"] = latex_table(found, caption(study, found, margin), study.summary["name"]) + "\n"
    return {f"comparison.{kind}": text.encode() for kind, text in texts.items()}


def comparison_text(study: StudyTable, found: Sequence[Compared], margin: float | None = None) -> str:
    """Return the answer in one line, the terms of the comparison, and its tables, as Markdown."""
    line = headline(claims(study, found, margin), found)
    return "\n\n".join(filter(None, (line, caption(study, found, margin), markdown_table(found))))


def _entries(
    study: StudyTable, found: Sequence[Compared], groups: Sequence[Group], margin: float | None, drawn: Path | None
) -> Iterator[tuple[str, bytes | Path]]:
    """Yield name and content, or the file that holds it, one after another: none is kept."""
    # Plotly is needed for the figures alone.
    from analysis.study.pictures import study_pictures

    yield TABLE, csv_bytes(study.rows)
    yield PARQUET, parquet_bytes(study.rows)
    yield SUMMARY, json_bytes(study.summary)
    yield from comparison_files(study, found, margin).items()
    claimed = claims(study, found, margin)
    said = "".join(f"- {claim.text}\n" for claim in claimed)
    yield (
        "claims.md",
        "\n\n".join(filter(None, (headline(claimed, found), caption(study, found, margin), said))).encode(),
    )
    if study.costs:
        yield COSTS, csv_bytes(study.costs)
    for name in (SPEC, FROZEN):
        if study.folder is not None and (study.folder / name).exists():
            yield name, study.folder / name
    for group in groups:
        for run in group.runs.values():
            yield f"runs/{run.folder.name}/{HEADER}", run.folder / HEADER
    for picture in study_pictures(study, found, groups, margin):
        # Plotly writes the properties of a trace in no order of its own.
        plain = json.loads(str(picture.figure.to_json()))
        yield f"figures/{picture.name}.json", json.dumps(plain, sort_keys=True).encode()
    if drawn is not None:
        for path in sorted(drawn.iterdir()):
            if path.suffix in (".svg", ".pdf", ".tex"):
                yield f"figures/{path.name}", path


def _copy(content: bytes | Path, sink: IO[bytes]) -> None:
    if isinstance(content, bytes):
        sink.write(content)
        return
    with content.open("rb") as source:
        shutil.copyfileobj(source, sink)
