"""``lessons_html``: the lessons, their runs and the player in one HTML file that needs no server."""

from __future__ import annotations

import json
from pathlib import Path
from string import Template

from analysis.glossary import told_in_file
from analysis.lessons.book import lesson_book
from analysis.lessons.material import Material
from analysis.order import by_similarity
from analysis.payload.container import as_json
from analysis.player_modules import import_map
from analysis.report.contents import report_contents
from analysis.report.page import STYLE, packed
from analysis.runs import Run

_HERE = Path(__file__).parent


def lessons_html(lab: Material) -> str:
    """Return a page with all lessons and the quiz.

    Raises:
        FileNotFoundError: the app's scripts and texts are not beside this package.
        RunLogError: a run cannot be read.
        FlexLoRAError: the study cannot be read.
    """
    book = lesson_book(lab)
    parts = {"fl-book": packed(as_json(book))}
    orders = []
    for name in book["runs"]:
        parts |= _run_parts(name, lab.run(name))
        order = json.dumps(by_similarity(lab.run(name)).tolist())
        orders.append(f'<script type="application/json" id="fl-order-{name}">{order}</script>')
    data = [f'<script type="text/plain" id="{key}">{text}</script>' for key, text in parts.items()]
    return Template((_HERE / "page.html").read_text(encoding="utf-8")).substitute(
        style=STYLE.read_text(encoding="utf-8"),
        data="\n".join([*data, *orders]),
        modules=as_json({"imports": import_map("learn/file.js")}).decode().replace("<", "\\u003c"),
    )


def _run_parts(name: str, run: Run) -> dict[str, str]:
    """What the reader's source finds of a run, each as packed text."""
    contents = report_contents(run)
    return {
        f"fl-run-{name}": packed(contents.payload),
        f"fl-parcels-{name}": packed(contents.parcels),
        f"fl-cards-{name}": packed(as_json(contents.cards)),
        f"fl-told-{name}": packed(as_json(told_in_file(run))),
    }
