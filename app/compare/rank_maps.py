"""Where rank ends: a map a group, and the difference of two groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from analysis.study import GroupRanks, group_ranks, rank_difference
from charts import chart
from compare.shown import Shown, ask_place, behind, told
from flexlora.errors import FlexLoRAError
from runs.store import plain
from widgets import select, switch

SHOWS = {"mean": "mean over seeds", "spread": "spread over seeds"}


def rank_maps(what: Shown) -> None:
    """Draw the maps of all groups of a task, then one minus another."""
    left, right = st.columns(2, vertical_alignment="bottom")
    with right:
        groups = ask_place(what, "compare_place_maps")
    with left:
        show = switch("Shown", list(SHOWS), "compare_map_show", format_func=SHOWS.__getitem__)
    ranks: list[GroupRanks] = []
    for group in groups:
        try:
            ranks.append(group_ranks(group))
        except FlexLoRAError as error:
            st.caption(plain(str(error)))
    if not ranks:
        return
    alt = f"Final rank of each matrix, layer by module type, a map a group: {SHOWS[show]}"
    chart("compare_maps", alt, "group_rank_maps", ranks, show)
    sentence = "The rank of each matrix in the end. Where the spread is as large as the differences, seeds decide."
    told(f"{sentence} All maps share one scale.", what)
    behind(_rows(ranks), "Mean and spread of the final rank of each matrix", "compare_table_maps")
    if len(ranks) > 1:
        _difference(ranks, what)


def _difference(ranks: Sequence[GroupRanks], what: Shown) -> None:
    st.markdown("## One minus another")
    left, right = st.columns(2)
    labels = [own.label for own in ranks]
    # What another has more than the reference.
    references = {str(group["reference"]) for group in what.table.summary["groups"]}
    minus = next((at for at, label in enumerate(labels) if label in references), 0)
    first = 1 if minus == 0 else 0
    one = select("Of", range(len(labels)), "compare_map_one", left, index=first, format_func=lambda at: labels[at])
    other = select(
        "Minus", range(len(labels)), "compare_map_other", right, index=minus, format_func=lambda at: labels[at]
    )
    try:
        found = rank_difference(ranks[min(one, len(ranks) - 1)], ranks[min(other, len(ranks) - 1)])
    except FlexLoRAError as error:
        st.warning(plain(str(error)), icon=":material/info:")
        return
    alt = f"Final rank of {found.label} minus {found.other}, mean over {found.pairs} pairs"
    chart("compare_map_difference", alt, "group_difference_map", found)
    told("Differences are paired by seed. A frame: its interval excludes 0; a double one: also after Holm.", what)
    rows = [
        {"matrix": matrix.name, "difference": mean, "low": low, "high": high, "p (Holm)": p}
        for matrix, mean, low, high, p in zip(
            found.matrices, found.mean, found.low, found.high, found.adjusted_p, strict=True
        )
    ]
    behind(rows, "Difference of final ranks, matrix by matrix", "compare_table_difference")


def _rows(ranks: Sequence[GroupRanks]) -> list[dict[str, Any]]:
    return [
        {"group": own.label, "matrix": matrix.name, "mean": mean, "spread": spread, "seeds": len(own.ranks)}
        for own in ranks
        for matrix, mean, spread in zip(own.matrices, own.mean, own.spread, strict=True)
    ]
