"""``write_report``: what goes into the file, and how much of it."""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template

from analysis.glossary import told_in_file
from analysis.metrics import describe_run
from analysis.order import by_similarity
from analysis.payload.container import as_json
from analysis.player_modules import import_map
from analysis.report.contents import Contents, report_contents
from analysis.report.tables import report_tables
from analysis.runs import Run
from flexlora.errors import FlexLoRAError
from flexlora.run_log.disk import put_bytes

_HERE = Path(__file__).parent
STYLE = _HERE / "page.css"
"""Of a page without a server: its colours by the names that the player reads."""
_LINK = ' · <a href="{}">Try the method in the playground</a>'


class ReportError(FlexLoRAError):
    """A report that cannot be made, and what to do."""


@dataclass(frozen=True)
class Report:
    """A written report.

    Attributes:
        path: the file.
        size_bytes: its length.
        notes: what it leaves out; they stand on the page, too.
    """

    path: Path
    size_bytes: int
    notes: tuple[str, ...]


def write_report(run: Run, out: str | Path, *, overwrite: bool = False) -> Report:
    """Write a run as one HTML file that opens without a server and without a network.

    Args:
        run: a recorded run.
        out: the file to write; its folder must exist.
        overwrite: replace a file that is there.

    Raises:
        ReportError: the file exists, its folder does not, or the player's modules are not beside this package.
    """
    path = Path(out)
    if path.is_dir() or not path.parent.is_dir():
        raise ReportError(f"--out {path} must be a file in a folder that exists, such as report.html.")
    if path.exists() and not overwrite:
        raise ReportError(f"{path} exists. Choose another name, or add --overwrite.")
    contents = report_contents(run)
    put_bytes(path, report_html(run, contents).encode())
    return Report(path, path.stat().st_size, contents.notes)


def report_html(run: Run, contents: Contents | None = None, playground: str | None = None) -> str:
    """Return the report as text.

    Args:
        run: a recorded run.
        contents: what goes into it; None = what ``report_contents`` says.
        playground: address of a page where the method trains in the browser, seen from the report.

    Raises:
        ReportError: the player's modules are not beside this package.
    """
    contents = contents or report_contents(run)
    name = str(run.header.get("name") or run.folder.name)
    request = {
        "run": name,
        "id": name,
        "link": {},
        "address": "hash",
        "step": None,
        "matrix": None,
        "since": None,
        "guide": {},
        "order": by_similarity(run).tolist(),
    }
    try:
        modules = import_map("player/source/report.js")
    except FileNotFoundError as error:
        raise ReportError(
            f"The player's modules are not here ({error.filename}): make reports in the repository."
        ) from error
    text = Template((_HERE / "page.html").read_text(encoding="utf-8")).substitute(
        title=escape(f"{name}: rank over time"),
        name=escape(name),
        about=escape(describe_run(run)) + (_LINK.format(escape(playground, quote=True)) if playground else ""),
        notes="".join(f'<p class="note">{escape(note)}</p>' for note in (*run.notices, *contents.notes)),
        style=STYLE.read_text(encoding="utf-8"),
        tables=report_tables(run),
        request=packed(json.dumps(request).encode()),
        run=packed(contents.payload),
        parcels=packed(contents.parcels),
        cards=packed(json.dumps(contents.cards, separators=(",", ":")).encode()),
        told=packed(as_json(told_in_file(run))),
        modules=as_json({"imports": modules}).decode().replace("<", "\\u003c"),
    )
    # A path in a header may be no text; UTF-8 has no place for that.
    return text.encode("utf-8", "backslashreplace").decode()


def packed(data: bytes) -> str:
    """Return bytes as text for a page: base64 of gzip, the same each time."""
    return base64.b64encode(gzip.compress(data, 9, mtime=0)).decode()
