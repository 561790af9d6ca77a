"""The pages of a pack that hold no run: where it begins, the playground, and a text for whom no page opens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template

from analysis.metrics import describe_run
from analysis.payload.container import as_json
from analysis.player_modules import import_map
from analysis.report.page import STYLE
from analysis.runs import Run

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class PackedRun:
    """A run in the pack.

    Attributes:
        name: of its page, and of the run.
        about: what it is, in one line.
        notes: what is missing or odd in its log.
    """

    name: str
    about: str
    notes: tuple[str, ...]

    @classmethod
    def of(cls, name: str, run: Run) -> PackedRun:
        """Return what the first page says of a run."""
        return cls(name, describe_run(run), tuple(f"{name}: {notice}" for notice in run.notices))


def index_html(runs: Sequence[PackedRun]) -> str:
    """Return the first page: what is there, and a link to each."""
    rows = [
        f'<li><a href="runs/{escape(run.name, quote=True)}.html">{escape(run.name)}</a><br>{escape(run.about)}</li>'
        for run in runs
    ]
    return _filled("index.html", runs="\n".join(rows))


def playground_html() -> str:
    """Return the playground: all of it runs in the browser, so that it needs no data.

    Raises:
        FileNotFoundError: its modules are not beside this package.
    """
    modules = as_json({"imports": import_map("playground/file.js")}).decode().replace("<", "\\u003c")
    return _filled("playground.html", modules=modules)


def about_text() -> str:
    """Return what to do with the folder, for whom no page opens."""
    return (_HERE / "README.txt").read_text(encoding="utf-8")


def _filled(name: str, **parts: str) -> str:
    text = Template((_HERE / name).read_text(encoding="utf-8"))
    # A name in a header may be no text; UTF-8 has no place for that.
    return (
        text.substitute(style=STYLE.read_text(encoding="utf-8"), **parts).encode("utf-8", "backslashreplace").decode()
    )
