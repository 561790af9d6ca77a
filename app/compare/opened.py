"""What is compared, read: a study's table, whole or as far as it is, and the sentence that refuses unequal budgets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from analysis.study import StudyTable, load_study
from compare.studies import StudyEntry
from files import stamp
from flexlora.study.files import COSTS, FROZEN, PARQUET, SPEC, SUMMARY
from flexlora.study.partial import Memo, read_partial


@dataclass(frozen=True)
class Opened:
    """What is compared.

    Attributes:
        table: its rows and what has to be known beside them.
        done: runs that are there.
        of: runs that there will be.
        refused: the sentence that says which budgets differ and by how much; empty where they are equal.
    """

    table: StudyTable
    done: int
    of: int
    refused: str


def open_study(entry: StudyEntry) -> Opened:
    """Read a study.

    Raises:
        FlexLoRAError: nothing of it can be read; one line.
    """
    if entry.state == "done":
        names = (SUMMARY, PARQUET, COSTS)
        return _whole(str(entry.folder), stamp(*(entry.folder / name for name in names)))
    return _part(entry.folder)


@st.cache_resource(max_entries=8, show_spinner=False)
def _whole(folder: str, changed: tuple[int, ...]) -> Opened:
    table = load_study(folder)
    equal = table.summary["equal"]
    refused = equal["note"] if not equal["held"] and equal["unit"] != "none" else ""
    return Opened(table, len(table.rows), len(table.rows), refused)


def _part(folder: Path) -> Opened:
    found = read_partial(folder, _memo(str(folder), stamp(folder / SPEC, folder / FROZEN)))
    ended = {(row["task"], row["cell"]) for row in found.rows if row["state"] == "completed"}
    groups = [group for group in found.summary["groups"] if (group["task"], group["cell"]) in ended]
    table = StudyTable(folder, {**found.summary, "groups": groups}, found.rows, found.costs)
    return Opened(table, len(found.rows), found.runs, found.refused)


@st.cache_resource(max_entries=8, show_spinner=False)
def _memo(folder: str, changed: tuple[int, ...]) -> Memo:
    return {}
