"""What decided about one matrix at one event, as rows."""

from __future__ import annotations

import pyarrow as pa

from analysis.runs import Run
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
    rows = [{**own, "kind": "line", "detail": own.get("detail") or None} for own in card["lines"]]
    rows += [{**own, "kind": "rule", "label": own["rule"]} for own in card["rules"]]
    rows += [{**own, "kind": "measure", "text": own["verdict"], "places": own["of"]} for own in card["alternatives"]]
    return pa.Table.from_pylist(rows, _COLUMNS)


_TEXTS = dict.fromkeys(("kind", "label", "text", "detail"), pa.string())
_COLUMNS = pa.schema({**_TEXTS, "score": pa.float64(), "place": pa.int64(), "places": pa.int64()})
