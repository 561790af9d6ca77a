"""The table over several adapters of one folder or zip: which one to look at first."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from analysis.adapters.doctor import LOOK, NOTE, WRONG, Finding
from analysis.adapters.triage import CLOSED, FINE, Triaged, triage
from analysis.figures.theme import fitted
from files import stamp
from runs.store import plain

UNASKED_BYTES = 100 << 20
"""Files together up to which all are examined without being asked to."""
WORDS = {CLOSED: "⊘ cannot be opened", WRONG: "✗ wrong", LOOK: "! look", NOTE: "i note", FINE: "✓ nothing found"}
COLUMNS = {"adapter": 200, "verdict": 140, "finding": 310, "type": 70, "same ΔW as": 110}
"""Column → its width, px: with the numbers they stand beside each other on a window of 1024."""
MOST_CHARACTERS = 46
"""Of a finding in the table: it holds one line a row, and what is longer stands below it."""
MOST_NAME = 27
"""Characters of a name in the table: a longer one loses its middle."""
MOST_ROWS, ROW_PX, HEAD_PX = 10, 30, 37
"""Rows before the table scrolls: what is open shall stand on the first screen."""
KEPT = "adapters_triage"


def triaged(choices: Mapping[str, Path]) -> list[Triaged] | None:
    """Examine adapters once for as long as their files stay; None where they are large and nobody asked for it."""
    ident = _ident(choices)
    kept: tuple[Any, list[Triaged]] | None = st.session_state.get(KEPT)
    if kept is None or kept[0] != ident:
        size = sum(file.stat().st_size for path in choices.values() for file in _files(path))
        large = size > UNASKED_BYTES
        if large and not st.button(f"Examine all {len(choices)}", key="adapters_triage_all", icon=":material/rule:"):
            return None
        bar = st.progress(0.0, "Examining")
        kept = (ident, triage(choices, lambda done, of: bar.progress(done / of, f"Examining: adapter {done} of {of}")))
        bar.empty()
        st.session_state[KEPT] = kept
    return kept[1]


def triage_table(choices: Mapping[str, Path], rows: list[Triaged], opened: str, chosen: str) -> None:
    """Draw a row an adapter, the worst first; a click on one opens it: its name becomes the state of ``chosen``."""
    key = f"adapters_triage_{hash(_ident(choices))}"
    more = f" {len(rows) - MOST_ROWS} more below: scroll." if len(rows) > MOST_ROWS else ""
    st.caption(
        f"Worst first; of those alike, the one with more matrices concerned. Click a row to open it; ▸ is open.{more}"
    )
    # The frame follows what is open, also where the list above opened it.
    at = next((place for place, row in enumerate(rows) if row.name == opened), None)
    cells = [] if at is None else [(at, "adapter")]
    st.session_state[key] = {"selection": {"rows": [], "columns": [], "cells": cells}}
    st.dataframe(
        [
            {
                "adapter": f"{'▸ ' if row.name == opened else ''}{fitted(row.name, MOST_NAME)}",
                "verdict": WORDS[row.verdict],
                "finding": row.brief if len(row.brief) <= MOST_CHARACTERS else "told below, in full",
                "‖ΔW‖": row.norm,
                "kB": None if row.bytes is None else round(row.bytes / 1e3),
                "type": row.dtype,
                "same ΔW as": row.same_as,
            }
            for row in rows
        ],
        hide_index=True,
        key=key,
        on_select=lambda: _open(key, rows, chosen),
        selection_mode="single-cell",
        column_config={
            **{name: st.column_config.Column(name, width=width) for name, width in COLUMNS.items()},
            "‖ΔW‖": st.column_config.NumberColumn(
                "‖ΔW‖", format="%.3g", width=70, help="Frobenius norm over all matrices."
            ),
            "kB": st.column_config.NumberColumn("kB", format="localized", width=60),
        },
        height="content" if len(rows) <= MOST_ROWS else HEAD_PX + MOST_ROWS * ROW_PX,
        row_height=ROW_PX,
    )
    _in_full(rows)


def _in_full(rows: list[Triaged]) -> None:
    """List what was found, as a sentence each: a cell has no room for them."""
    found = [row for row in rows if row.findings or row.verdict == CLOSED]
    if not found:
        return
    count = sum(max(1, len(row.findings)) for row in found)
    with st.expander(f"{count} finding{'' if count == 1 else 's'} in {len(found)} of {len(rows)}, in full"):
        for row in found:
            told = " ".join(finding.text for finding in row.findings) or row.brief
            st.markdown(f"**{plain(row.name)}**: {plain(told)}")


def _ident(choices: Mapping[str, Path]) -> tuple[Any, ...]:
    return tuple((path, *stamp(*_files(path))) for path in choices.values())


def found_beside(source: Any) -> Finding | None:
    """Return what is found in an open adapter only beside the others of its folder; None = nothing."""
    kept: tuple[Any, list[Triaged]] | None = st.session_state.get(KEPT)
    if kept is None or not source.choice or all(source.path != path for path, *_ in kept[0]):
        return None
    return next((row.beside for row in kept[1] if row.name == source.choice), None)


def _files(path: Path) -> list[Path]:
    return sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]


def _open(key: str, rows: list[Triaged], chosen: str) -> None:
    cells = st.session_state[key]["selection"]["cells"]
    if cells:
        st.session_state[chosen] = rows[cells[0][0]].name
