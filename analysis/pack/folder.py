"""``write_pack``: a folder that opens by double click, and the same folder as a zip."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.lessons.material import RUNS, material, missing
from analysis.lessons.page import lessons_html
from analysis.pack.pages import PackedRun, about_text, index_html, playground_html
from analysis.report.page import report_html
from analysis.runs import Run, load_run
from flexlora.errors import FlexLoRAError

FULL_BYTES = 15_000_000
"""What the zip may weigh: a class takes it from a stick, or by mail."""
EXAMPLES = ("digits-flexlora-paper", "digits-adalora", "mnist-flexlora-seed0", "trec-flexlora-seed0")
"""More runs of the samples: another task, another method, a vision model, real text."""
DATE = (1980, 1, 1, 0, 0, 0)
"""Of every file in the zip, so that the same runs make the same bytes."""


@dataclass(frozen=True)
class Pack:
    """A written pack.

    Attributes:
        folder: what opens by double click on its ``index.html``.
        archive: the same as a zip.
        size_bytes: of the zip.
        runs: names of the runs in it.
        notes: what is worth knowing about it, a line each.
    """

    folder: Path
    archive: Path
    size_bytes: int
    runs: tuple[str, ...]
    notes: tuple[str, ...]


def write_pack(
    out: str | Path,
    samples: Path,
    runs: Sequence[Path] = (),
    *,
    overwrite: bool = False,
    report: Callable[[str], None] = lambda line: None,
) -> Pack:
    """Write lessons, playground and runs to a folder, and the folder to a zip beside it.

    The folder appears whole or not at all.

    Args:
        out: the folder to write; what it lies in must exist.
        samples: where the runs of the lessons are.
        runs: folders of more runs.
        overwrite: replace a pack that is there.
        report: called with a line for each file that is made.

    Raises:
        FlexLoRAError: something is there that is no pack, or a run of the lessons is missing.
        RunLogError: a run cannot be read.
    """
    folder = Path(out).absolute()
    if not folder.name or folder == Path.cwd():
        raise FlexLoRAError(f"--out {out} must be a new folder in one that exists, such as pack.")
    archive = folder.with_name(f"{folder.name}.zip")
    _check(folder, archive, overwrite)
    if lacking := missing(samples):
        raise FlexLoRAError(f"{samples} lacks {', '.join(lacking)}; name the folder by --samples.")
    more = {name: load_run(path) for name, path in zip(_names(runs), runs, strict=True)}
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".pack-") as scratch:
        made = Path(scratch, "pack")
        written = _write_pages(made, samples, more, report)
        _zip(made, Path(scratch, "zip"), folder.name)
        if folder.is_dir():
            shutil.rmtree(folder)
        made.rename(folder)
        Path(scratch, "zip").replace(archive)
    size = archive.stat().st_size
    notes = [note for run in written for note in run.notes]
    if size > FULL_BYTES:
        notes.append(f"The zip has {size / 1e6:.1f} MB, more than {FULL_BYTES / 1e6:.0f}: pack fewer runs (--run).")
    return Pack(folder, archive, size, tuple(run.name for run in written), tuple(notes))


def _check(folder: Path, archive: Path, overwrite: bool) -> None:
    if not folder.parent.is_dir():
        raise FlexLoRAError(f"--out {folder} must be a folder in one that exists, such as pack.")
    there = [path for path in (folder, archive) if path.exists()]
    if there and not overwrite:
        raise FlexLoRAError(f"{there[0]} exists. Choose another name, or add --overwrite.")
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not (folder / "index.html").is_file()):
        raise FlexLoRAError(f"{folder} is no pack, and is not replaced. Choose another name.")


def _names(runs: Sequence[Path]) -> list[str]:
    names = [path.resolve().name for path in runs]
    twice = {name for name in names if names.count(name) > 1} | set(RUNS).intersection(names)
    if twice:
        raise FlexLoRAError(f"{', '.join(sorted(twice))} would be in the pack twice: name each run once.")
    return names


def _write_pages(made: Path, samples: Path, more: dict[str, Run], report: Callable[[str], None]) -> list[PackedRun]:
    lab = material(samples)
    (made / "runs").mkdir(parents=True)
    written = []
    known = (*RUNS, *(name for name in EXAMPLES if (samples / name).is_dir() and name not in more))
    for name in (*known, *more):
        run = lab.run(name) if name in known else more[name]
        _put(made / "runs" / f"{name}.html", report_html(run, playground="../playground.html"), report)
        written.append(PackedRun.of(name, run))
    _put(made / "lessons.html", lessons_html(lab), report)
    _put(made / "playground.html", playground_html(), report)
    _put(made / "index.html", index_html(written), report)
    _put(made / "README.txt", about_text(), report)
    return written


def _put(path: Path, text: str, report: Callable[[str], None]) -> None:
    path.write_text(text, encoding="utf-8")
    report(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB")


def _zip(folder: Path, archive: Path, name: str) -> None:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                entry = zipfile.ZipInfo(f"{name}/{path.relative_to(folder).as_posix()}", DATE)
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = 0o644 << 16
                packed.writestr(entry, path.read_bytes())
