"""What is compared, read: a study's table, whole or as far as it is, and the sentence that refuses unequal budgets."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from analysis.study import StudyTable, load_study
from compare.studies import StudyEntry
from files import stamp
from flexlora.errors import FlexLoRAError
from flexlora.study.files import COSTS, FROZEN, PARQUET, RUNS, SPEC, SUMMARY
from flexlora.study.partial import Memo, read_partial


@dataclass(frozen=True)
class Opened:
    """What is compared.

    Attributes:
        table: its rows and what has to be known beside them.
        costs: column → value, one a run of the table: what the clock said.
        done: runs that are there.
        of: runs that there will be.
        refused: the sentence that says which budgets differ and by how much; empty where they are equal.
        runs: folder of the logs.
    """

    table: StudyTable
    costs: list[dict[str, Any]]
    done: int
    of: int
    refused: str
    runs: Path

    @property
    def noted(self) -> str:
        """What every figure and table says of budgets that are not equal; empty where they are."""
        return str(self.table.summary["equal"]["note"])


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
    root = Path(folder)
    return Opened(table, _costs(root / COSTS), len(table.rows), len(table.rows), refused, root / RUNS)


def _part(folder: Path) -> Opened:
    found = read_partial(folder, _memo(str(folder), stamp(folder / SPEC, folder / FROZEN)))
    ended = {(row["task"], row["cell"]) for row in found.rows if row["state"] == "completed"}
    groups = [group for group in found.summary["groups"] if (group["task"], group["cell"]) in ended]
    table = StudyTable(folder, {**found.summary, "groups": groups}, found.rows)
    return Opened(table, found.costs, len(found.rows), found.runs, found.refused, folder / RUNS)


@st.cache_resource(max_entries=8, show_spinner=False)
def _memo(folder: str, changed: tuple[int, ...]) -> Memo:
    return {}


def _costs(path: Path) -> list[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        return []
    except (OSError, ValueError, csv.Error) as error:
        raise FlexLoRAError(f"{path.name} of the study is damaged: {error}.") from error
    return [{key: _number(value) for key, value in row.items()} for row in rows]


def _number(text: str | None) -> Any:
    if not text:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text
