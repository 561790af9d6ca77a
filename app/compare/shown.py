"""What the sections of a comparison draw: its table, what it says, and its groups of runs, read once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import streamlit as st

from analysis.study import Compared, Group, StudyTable, compare_study, study_groups
from files import stamp
from flexlora.run_log.format import CHECKSUMS, HEADER
from flexlora.study.files import RUNS
from runs.store import plain
from widgets import select


@dataclass(frozen=True)
class Shown:
    """A comparison on the page.

    Attributes:
        table: its rows and what has to be known beside them.
        found: one a variant; without verdicts where budgets that should be equal are not.
        groups: the variants with their runs.
    """

    table: StudyTable
    found: Sequence[Compared]
    groups: Sequence[Group]

    @property
    def places(self) -> list[tuple[str, str]]:
        """Task and cell of each comparison."""
        return list(dict.fromkeys(group.place for group in self.groups))

    @property
    def note(self) -> str:
        """What is said beside every figure and table of budgets that are not equal; empty where they are."""
        return str(self.table.summary["equal"]["note"])


def shown_study(table: StudyTable) -> Shown:
    """Return a study as the sections draw it; its logs are read once for as long as they stay the same.

    Raises:
        FlexLoRAError: its metric is in no column.
        RunLogError: a log that cannot be read.
    """
    assert table.folder is not None
    stamps: list[int] = []
    for row in table.rows:
        folder = table.folder / RUNS / str(row["run"])
        stamps += stamp(folder / HEADER, folder / CHECKSUMS)
    labels = tuple((group["task"], group["cell"], *group["variants"]) for group in table.summary["groups"])
    return shown(table, _groups(str(table.folder), tuple(stamps), labels, table))


def shown(table: StudyTable, groups: Sequence[Group]) -> Shown:
    """Return a comparison as the sections draw it.

    Raises:
        FlexLoRAError: the metric is in no column.
    """
    found = compare_study(table)
    equal = table.summary["equal"]
    if equal["unit"] != "none" and not equal["held"]:
        found = [replace(one, verdict="") for one in found]
    return Shown(table, found, groups)


def ask_place(what: Shown, key: str) -> list[Group]:
    """Draw the choice of a task and cell where there are several; return the groups of it that have runs."""
    places = what.places
    place = places[0]
    if len(places) > 1:
        names = [" · ".join(filter(None, own)) for own in places]
        place = places[select("Of", range(len(places)), key, format_func=lambda number: names[number])]
    return [group for group in what.groups if group.place == place and group.runs]


def told(sentence: str, what: Shown) -> None:
    """Say in a sentence what a figure shows, and what has to be known of its budgets and of how few its seeds are."""
    note = f" **Unequal budgets:** {plain(what.note)}" if what.note else ""
    few = next((one for one in what.found if one.too_few and one.pairs is not None), None)
    if few is not None and few.pairs is not None:
        note += (
            f" **Few seeds:** an interval over {few.pairs.n} says little more than what those runs were; to claim a "
            f"difference takes {few.needed}."
        )
    st.caption(f"{sentence}{note}")


def behind(rows: Sequence[dict[str, Any]], alt: str, key: str, title: str = "Table") -> None:
    """Draw the table behind a figure, closed at first."""
    with st.expander(f"{title}: {len(rows)} row{'s' * (len(rows) != 1)}", icon=":material/table_rows:", key=key):
        st.dataframe(list(rows), hide_index=True, placeholder="", alt=alt)


@st.cache_resource(max_entries=6, show_spinner="Reading the logs")
def _groups(folder: str, stamps: tuple[int, ...], labels: tuple[Any, ...], _table: StudyTable) -> list[Group]:
    return study_groups(_table)
