"""Tables of a report as plain HTML: what the player shows, for print, for search, and where scripts do not run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from analysis import metrics
from analysis.quantities import defined_entropy
from analysis.runs import Run

MAX_ROWS = 1_000
"""Rows of a table at most; the last line says how many were left out."""

_NUMBER = ' class="number"'

FACTS = ("method", "preset", "task", "model", "data", "device", "seed", "versions")


def report_tables(run: Run) -> str:
    """Return the tables of a run, each in its own section."""
    beside = _section("How it was made", _facts(run)) + _section("What it reached", _evaluations(run))
    matrices = _section("Matrices", _matrices(run))
    return f'<div class="tables"><div>{beside}</div>{matrices}</div>{_section("Events", _events(run))}'


def html_table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table; numbers are right-aligned, None is a dash, text is escaped."""
    listed = list(rows)
    left_out = len(listed) - MAX_ROWS
    body = "".join(f"<tr>{''.join(_cell(value) for value in row)}</tr>" for row in listed[:MAX_ROWS])
    more = f'<tr><td colspan="{len(head)}">and {left_out} more rows</td></tr>' if left_out > 0 else ""
    names = "".join(
        f'<th scope="col"{_NUMBER if any(_is_number(row[place]) for row in listed) else ""}>{escape(name)}</th>'
        for place, name in enumerate(head)
    )
    return f"<table><thead><tr>{names}</tr></thead><tbody>{body}{more}</tbody></table>"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number)


def _cell(value: Any) -> str:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or (isinstance(value, float) and not np.isfinite(value)):
        return '<td class="number">–</td>'
    if isinstance(value, float):
        return f'<td class="number">{value:.4g}</td>'
    return f'<td class="number">{value}</td>' if isinstance(value, int) else f"<td>{escape(str(value))}</td>"


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>" if content else ""


def _facts(run: Run) -> str:
    header = run.header
    rows = [row for key in FACTS for row in _flat(key, header.get(key))]
    command = header.get("command")
    told = f"<pre>{escape(str(command))}</pre>" if command else ""
    return html_table(("what", "value"), rows) + told


def _flat(name: str, value: Any) -> list[tuple[str, Any]]:
    """Return a value of the header as rows, one a number or text inside it."""
    if isinstance(value, Mapping):
        return [row for key, inner in value.items() for row in _flat(f"{name}, {key}", inner)]
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    return [] if value is None else [(name, str(value))]


def _evaluations(run: Run) -> str:
    rows = []
    for name, (steps, values) in run.metrics.items():
        if "/" in name and len(values):
            best = int(np.nanargmax(values)) if np.isfinite(values).any() else 0
            rows.append((name, int(steps[-1]), float(values[-1]), int(steps[best]), float(values[best])))
    return html_table(("metric", "last step", "value", "step of the largest", "largest"), rows) if rows else ""


def _matrices(run: Run) -> str:
    if not len(run.steps):
        return ""
    final = metrics.final_ranks(run)
    rows = [
        (m.name, m.layer, m.module_type, int(first), int(last), int(last - first), float(entropy), float(energy))
        for m, first, last, entropy, energy in zip(
            run.matrices, run.ranks[0], final, defined_entropy(run)[-1], run.energy[-1], strict=True
        )
    ]
    head = ("matrix", "layer", "module type", "first rank", "final rank", "change", "entropy", "energy Σλ²")
    return html_table(head, rows)


def _events(run: Run) -> str:
    labels = {matrix.name: metrics.matrix_label(matrix) for matrix in run.matrices}
    rows = [
        (
            number,
            event["step"],
            event["budget"],
            _named(event["prune"], labels),
            _named(event["extend"], labels),
            ", ".join(event["rules"]),
        )
        for number, event in enumerate(run.events, 1)
    ]
    return html_table(("event", "step", "b", "pruned", "extended", "rules"), rows) if rows else ""


def _named(moves: Sequence[dict[str, Any]], labels: Mapping[str, str]) -> str:
    return ", ".join(labels[move["matrix"]] for move in moves) or "none"
