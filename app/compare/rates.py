"""What each trial of the search reached, against its learning rate."""

from __future__ import annotations

import math

import streamlit as st

from analysis.study import rate_curves
from charts import chart
from compare.shown import Shown, behind, told


def rates(what: Shown) -> None:
    """Draw the search of every variant."""
    curves = rate_curves(what.table)
    if not curves:
        st.info(
            "Nothing was tuned here: every variant has the learning rate that its settings name. A study with `tune` "
            "gives each the same number of trials on validation."
        )
        return
    chart(
        "compare_rates",
        "Validation result of each trial against its learning rate; rings are choices",
        "learning_rates",
        curves,
    )
    told(
        "A ring is the choice, made on validation before the test split was read. Every variant had the same number of "
        "trials; where a choice lies at an end of the rates tried, a better one may lie beyond.",
        what,
    )
    rows = [
        {
            "task": one.task, "within": one.cell, "variant": one.variant, "learning rate": float(rate),
            f"validation {one.metric}": None if math.isnan(value) else float(value), "beside it": other,
            "chosen": "chosen" if place == one.chosen else "",
        }
        for one in curves
        for place, (rate, value, other) in enumerate(zip(one.rates, one.values, one.others, strict=True))
    ]  # fmt: skip
    behind(rows, "Trials: learning rate and validation result", "compare_table_rates")
