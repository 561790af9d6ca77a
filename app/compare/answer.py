"""The first section: each claim in words with its verdict, and the differences that it rests on."""

from __future__ import annotations

import streamlit as st

from analysis.study import Claim, caption, claims, comparison_rows, headline
from charts import chart
from compare.form import CONTROL, RANDOM
from compare.shown import Shown, behind, told
from runs.store import plain

BADGES = {
    "better": ("green", ":material/trending_up:", "better"),
    "worse": ("orange", ":material/trending_down:", "worse"),
    "no difference": ("blue", ":material/equal:", "no difference"),
    "not told apart": ("gray", ":material/question_mark:", "not told apart"),
    "refused": ("gray", ":material/balance:", "not claimed"),
}
"""Verdict → colour, sign and word: none of them is told by its colour alone."""
HELP = {
    "no difference": "The data say so: the difference, with its uncertainty, is smaller than the margin.",
    "not told apart": "The data do not say: the difference may be 0 or more than the margin. More seeds could tell.",
}
SHOWN = 8


def answer(what: Shown) -> None:
    """Draw the answer in one line, the claims, and the forest plot."""
    said = claims(what.table, what.found)
    if not said:
        st.info("No two variants share a seed yet, so nothing can be compared. This page fills as runs end.")
    else:
        st.markdown(f"**{plain(headline(said, what.found))}**")
    for claim in said[:SHOWN]:
        _claim(claim)
    if len(said) > SHOWN:
        with st.expander(f"{len(said) - SHOWN} more claims"):
            for claim in said[SHOWN:]:
                _claim(claim)
    if said:
        alt = "Paired difference of each variant to its reference, with 95 % interval, detectable effect and verdict"
        chart("compare_forest", alt, "forest", what.found, what.table.summary["margin"])
    told(
        "Each mark is the mean difference over pairs with the same seed, its bar the 95 % interval; grey ticks are "
        "the smallest true difference that so many pairs find with 80 % power.",
        what,
    )
    behind(comparison_rows(what.found), "Comparisons: one row a variant, unrounded", "compare_table_answer")
    if any(row["variant"] == RANDOM or row["variant"].endswith("importance random") for row in what.table.rows):
        st.caption(f"**{RANDOM.capitalize()}**: {CONTROL}")
    st.caption(plain(caption(what.table, what.found)))


def _claim(claim: Claim) -> None:
    colour, icon, word = BADGES[claim.verdict]
    st.markdown(f":{colour}-badge[{icon} {word}] {plain(claim.text)}", help=HELP.get(claim.verdict))
