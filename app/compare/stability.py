"""How much of its order of the matrices each measure keeps from one event to the next."""

from __future__ import annotations

import math

import streamlit as st

from analysis.stability import mean_stability, smoothing_gain
from charts import chart
from compare.shown import Shown, ask_place, behind, told


def stability(what: Shown) -> None:
    """Draw the stability of every measure that the groups log."""
    groups = [group for group in ask_place(what, "compare_place_stability") if group.intact()]
    found = {group.label: mean_stability(list(group.intact().values())) for group in groups}
    known = {label: own for label, own in found.items() if own}
    if not known:
        st.info(
            "No run of these logs the scores of two events. `log_measures: all` among the settings of a study logs "
            "every measure at each event."
        )
        return
    methods = [group.method for group in groups if group.label in known]
    alt = "Mean rank correlation of each measure's order between events that follow each other"
    chart("compare_stability", alt, "group_stability", known, methods)
    told(
        "Spearman's correlation of the order of all matrices at two events that follow each other: near 0, the measure "
        "decides by noise; 1, its order never changes.",
        what,
    )
    for group in groups:
        gain = smoothing_gain(list(group.intact().values()))
        if gain is not None:
            ends = "" if math.isnan(gain.low) else f" [{gain.low:+.2f}, {gain.high:+.2f}]"
            st.caption(f"Smoothing sensitivity changes its stability by {gain.mean:+.2f}{ends} in {group.label}.")
    rows = [
        {"group": label, "measure": one.label, "runs": one.n, "mean": one.mean, "low": one.low, "high": one.high}
        for label, own in known.items()
        for one in own
    ]
    behind(rows, "Stability of each measure in each group", "compare_table_stability")
