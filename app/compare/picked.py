"""Picked runs as a comparison: groups by method and setting, under a budget that somebody names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import streamlit as st

from analysis.runs import Run, load_run
from analysis.study import Group, StudyTable, group_table, plain_groups
from compare import address
from compare.form import UNIT_WORDS
from files import stamp
from flexlora.errors import FlexLoRAError
from flexlora.run_log import RunLogError
from flexlora.run_log.format import CHECKSUMS, HEADER
from flexlora.study.spec import UNITS
from runs.rows import RunRow
from runs.store import plain
from widgets import select

UNIT, REFERENCE, MARGIN = "unit", "reference", "margin"
NONE = "(the first)"


class Picked(NamedTuple):
    """Runs that were picked, as a table that says whether their budgets are equal."""

    table: StudyTable
    groups: list[Group]


def ask_terms(rows: Sequence[RunRow]) -> Picked | None:
    """Draw what is to be equal, the reference and the margin; return the runs as a table, None after saying why not."""
    runs, notices = _load(rows)
    groups, left_out = plain_groups(runs)
    columns = st.columns(3, vertical_alignment="bottom")
    _begin("compare_unit", address.one_of(UNIT, UNITS))
    unit = select("Equal in", UNITS, "compare_unit", columns[0], format_func=UNIT_WORDS.__getitem__)
    labels = [NONE, *dict.fromkeys(group.label for group in groups)]
    _begin("compare_reference", address.one_of(REFERENCE, labels))
    if st.session_state["compare_reference"] not in labels:
        st.session_state["compare_reference"] = NONE
    reference = select("Reference", labels, "compare_reference", columns[1])
    _begin("compare_margin", address.asked(MARGIN))
    typed = columns[2].text_input(
        "A difference smaller than this would not matter",
        key="compare_margin",
        placeholder="none: no difference is never claimed",
        persist_state="session",
    )
    address.tell(unit=None if unit == UNITS[0] else unit, margin=typed.strip(), reference=reference.removeprefix(NONE))
    for notice in [*notices, *left_out]:
        st.caption(plain(notice))
    try:
        margin = _margin(typed)
        table = group_table(
            groups, unit=unit, reference=None if reference == NONE else reference, margin=margin, allow_unequal=True
        )
    except FlexLoRAError as error:
        st.warning(plain(str(error)), icon=":material/info:")
        return None
    return Picked(table, groups)


def _begin(key: str, value: str) -> None:
    st.session_state.setdefault(key, value)


def _margin(typed: str) -> float | None:
    if not typed.strip():
        return None
    try:
        margin = float(typed)
    except ValueError:
        margin = -1.0
    if not 0 < margin < float("inf"):
        raise FlexLoRAError(f"{typed.strip()[:40]!r} is no margin: it must be a number above 0.")
    return margin


def _load(rows: Sequence[RunRow]) -> tuple[dict[str, Run], list[str]]:
    """Return key → run, and a sentence for each that cannot be read."""
    runs, notices = {}, []
    for row in rows:
        try:
            runs[row.key] = _run(str(row.folder), stamp(row.folder / HEADER, row.folder / CHECKSUMS))
        except (RunLogError, OSError) as error:
            notices.append(str(error))
    return runs, notices


@st.cache_resource(max_entries=400, show_spinner="Reading the logs")
def _run(folder: str, changed: tuple[int, ...]) -> Run:
    return load_run(folder)
