"""Numbers over the step: the mean of each group with its band, all under one clock."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import streamlit as st

from analysis.study import CURVES, Band, metric_bands
from charts import chart
from compare.shown import Shown, ask_place, behind, told
from widgets import select

MOST_ROWS = 2000


def over_steps(what: Shown) -> None:
    """Draw one number of all groups over the step."""
    left, right = st.columns(2)
    with right:
        groups = ask_place(what, "compare_place_steps")
    curve = select("Shown", list(CURVES), "compare_curve", left, format_func=lambda key: CURVES[key].label)
    bands = metric_bands(groups, curve)
    chart(
        "compare_bands", f"{CURVES[curve].label} of each group over the step, mean and 95 % band", "group_bands", bands
    )
    told(
        "Lines are means over the seeds of a group, bands the 95 % interval of the mean at each step by itself. All "
        "share one clock: finished optimizer steps.",
        what,
    )
    missing = [f"{band.group.label}: {band.missing}" for band in bands if band.missing]
    if missing:
        st.caption(f"Left out, failed or without this number: {', '.join(missing)}.")
    behind(_rows(bands), "Mean and interval of each group at each step", "compare_table_steps")


def _rows(bands: Sequence[Band]) -> list[dict[str, Any]]:
    rows = []
    for band in bands:
        for step, mean, low, high in zip(band.steps, band.mean, band.low, band.high, strict=True):
            ends = [None if math.isnan(end) else float(end) for end in (low, high)]
            row = {"group": band.group.label, "step": int(step), "seeds": band.n, "mean": float(mean)}
            rows.append({**row, "low": ends[0], "high": ends[1]})
    return rows[:MOST_ROWS]
