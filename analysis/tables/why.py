"""What decided about one matrix at one event, as rows."""

from __future__ import annotations

import pyarrow as pa

from analysis.runs import Run
from analysis.tables.columns import as_table
from analysis.tables.maps import shown_step
from analysis.tables.spectra import shown_matrix
from analysis.why import why_card


def why(run: Run, matrix: str | None = None, step: int | None = None) -> pa.Table:
    """One row a line, rule or other measure of the card of a matrix at the latest event at or before a step.

    ``kind`` is ``line``, ``rule`` or ``measure``; a measure has the ``score`` that it gives the matrix and its
    ``place`` of ``places``. No row where there is no card.

    Raises:
        ValueError: the run has no matrix of this name.
    """
    name = run.matrices[shown_matrix(run, matrix)].name
    card = why_card(run, shown_step(run, step), name) or {"lines": [], "rules": [], "alternatives": []}
    rows = [("line", own["label"], own["text"], own.get("detail") or None, None, None, None) for own in card["lines"]]
    rows += [("rule", own["rule"], own["text"], None, None, None, None) for own in card["rules"]]
    rows += [
        ("measure", own["label"], own["verdict"], None, own["score"], own["place"], own["of"])
        for own in card["alternatives"]
    ]
    columns = list(zip(*rows, strict=True)) or [()] * len(_COLUMNS)
    return as_table({name: pa.array(own, kind) for (name, kind), own in zip(_COLUMNS.items(), columns, strict=True)})


_COLUMNS = {
    "kind": pa.string(),
    "label": pa.string(),
    "text": pa.string(),
    "detail": pa.string(),
    "score": pa.float64(),
    "place": pa.int64(),
    "places": pa.int64(),
}
