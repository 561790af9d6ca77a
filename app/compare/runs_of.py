"""The runs that a comparison rests on, each with the way to its picture in Explore."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import streamlit as st

from analysis.study.compare import SPLITS
from compare.shown import Shown, told
from runs.store import runs_root, samples_root

SHOWN_COLUMNS = ("task", "cell", "variant", "seed", "state", "final_rank", "pruned", "extended")


def runs_of(what: Shown) -> None:
    """Draw one row a run; the link opens it in Explore."""
    metrics = {f"{split}_{group['metric']}" for split in SPLITS for group in what.table.summary["groups"]}
    names = [
        name
        for name in (*SHOWN_COLUMNS, *sorted(metrics))
        if any(row.get(name) not in (None, "") for row in what.table.rows)
    ]
    folders = {
        (group.task, group.cell, group.label, seed): run.folder
        for group in what.groups
        for seed, run in group.runs.items()
    }
    rows = [
        {"open": _address(folders.get((row["task"], row["cell"], row["variant"], row["seed"])))} | _told(row, names)
        for row in what.table.rows
    ]
    link = st.column_config.LinkColumn(
        "open", display_text="Explore", width=70, help="The run in Explore, in a new tab"
    )
    st.dataframe(
        rows,
        hide_index=True,
        placeholder="",
        column_config={"open": link},
        key="compare_runs_table",
        alt="Runs: task, variant, seed, state, results, and the link that opens each in Explore",
    )
    told("One row a run. Its link opens the run in Explore, with all that its log holds.", what)


def _told(row: dict[str, Any], names: list[str]) -> dict[str, Any]:
    return {("within" if name == "cell" else name.replace("_", " ")): row.get(name) for name in names}


def _address(folder: Path | None) -> str | None:
    """Return the address of a run in Explore, seen from Compare; None where it is in no folder that Explore knows."""
    for root, prefix in ((runs_root(), "runs/"), (samples_root(), "")):
        if folder is not None and folder.is_relative_to(root):
            return f"explore?run={quote(prefix + folder.relative_to(root).as_posix(), safe='')}"
    return None
