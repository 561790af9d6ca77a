"""Tables in the docs that list a registry say what its records say."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.adapters.formats.format import Format
from analysis.adapters.formats.others import REASONS
from analysis.adapters.formats.table import FORMATS
from analysis.costs import find_measurements, find_series, written
from analysis.glossary import GLOSSARY, Term
from flexlora.importance import IMPORTANCES, Measure
from flexlora.schedules import CONFIGURABLE, Schedule
from tests.flexlora.architectures import ARCHITECTURES, Architecture
from tests.flexlora.test_trainers_agree import WAYS

ROOT = Path(__file__).parents[1]
DOCS, COSTS = ROOT / "docs", ROOT / "sample_runs" / "costs"


def table(head, rows):
    """Return a Markdown table; a bar inside a cell is escaped."""
    cells = ([str(cell).replace("|", r"\|") for cell in row] for row in rows)
    return "".join(f"{line}\n" for line in (bars(head), f"|{'---|' * len(head)}", *map(bars, cells)))


def bars(cells):
    return f"| {' | '.join(cells)} |"


def ends(low, high):
    return f"[{low:g}, {high:g}]" if high is not None else f"at least {low:g}"


def measure_row(measure: Measure):
    value = measure.formula + (", s = λ²/Σλ²" if measure.terms == "s" else "")
    return f"`{measure.key}`", measure.label, measure.scores, value, ends(*measure.range), measure.undefined


def schedule_row(schedule: Schedule):
    options = ", ".join(f"`{name}`" for name in schedule.options) or "–"
    return f"`{schedule.key}`", schedule.formula, schedule.description, options


def cost_tables():
    measured, damaged = find_measurements(COSTS)
    points, more = find_measurements(COSTS / "growth")
    assert measured and not damaged + more
    return written(measured, find_series(points))


def architecture_row(one: Architecture):
    told = {"in no linear layer": "what is in no linear layer is told", None: ""}[one.warns]
    notes = [told, "layers too small for the rank are told" if one.small else "", one.peft or "", one.bf16 or ""]
    cells = ["yes", "yes", "yes" if one.peft is None else "no", "yes", "yes" if one.bf16 is None else "no"]
    return one.kind, f"`{one.model}`", *cells, "; ".join(note for note in notes if note) or "–"


def format_row(own: Format):
    return own.label, own.files, own.holds, own.aside, own.writer.told


def refused_rows():
    reasons: dict[str, list[str]] = {}
    for kind, reason in REASONS.items():
        reasons.setdefault(reason, []).append(f"`{kind}`")
    return [(", ".join(kinds), reason) for reason, kinds in reasons.items()]


def term_row(term: Term):
    return f"**{term.label}**", term.definition, term.formula


RENDERED = {
    ("adapters.md", "formats"): table(
        ("whose", "what it looks like", "what is read", "what is named and left aside", "what is written smaller"),
        map(format_row, (FORMATS[-1], *FORMATS[:-1])),
    ),
    ("adapters.md", "refused"): table(("`peft_type`", "not read, because"), refused_rows()),
    ("cost.md", "costs"): cost_tables(),
    ("explore.md", "glossary"): table(("word", "what it means", "formula"), map(term_row, GLOSSARY.values())),
    ("fidelity.md", "measures"): table(
        ("measure", "called", "scores", "value", "range", "undefined (none)"), map(measure_row, IMPORTANCES.values())
    ),
    ("support.md", "architectures"): table(
        ("kind", "class", "trained, rank moves", "saved, opened", "opened by PEFT", "merged", "bf16 autocast", "notes"),
        map(architecture_row, ARCHITECTURES.values()),
    ),
    ("support.md", "trainers"): table(
        ("who makes the steps", "same λ and events, bit for bit"), ((w, "yes") for w in WAYS)
    ),
    ("fidelity.md", "schedules"): table(
        ("schedule", "b(t) before rounding", "what it is", "options of its own"),
        map(schedule_row, CONFIGURABLE.values()),
    ),
}


def block(page, name):
    """Return the text of a page before a table, the table, and the text after it."""
    start, end = f"<!-- {name} -->\n", "<!-- end -->"
    before, _, rest = (DOCS / page).read_text(encoding="utf-8").partition(start)
    shown, _, after = rest.partition(end)
    return before + start, shown, end + after


@pytest.mark.parametrize(("page", "name"), RENDERED)
def test_a_table_in_the_docs_is_what_the_records_render(page, name):
    assert block(page, name)[1] == RENDERED[page, name], "python -m tests.test_docs_tables writes the tables anew"


if __name__ == "__main__":
    for (page, name), rendered in RENDERED.items():
        before, _, after = block(page, name)
        (DOCS / page).write_text(before + rendered + after, encoding="utf-8")
