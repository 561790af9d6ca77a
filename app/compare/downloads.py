"""What can be taken along: the tables for a paper."""

from __future__ import annotations

import streamlit as st

from analysis.study import caption, comparison_rows, latex_table, markdown_table
from compare.shown import Shown
from flexlora.study.table import csv_bytes
from widgets import download


def downloads(what: Shown) -> None:
    """Draw the buttons that save the tables, and say how figures are saved."""
    told = caption(what.table, what.found)
    files = {
        "comparison.md": ("Markdown table", f"{told}\n\n{markdown_table(what.found)}\n".encode()),
        "comparison.tex": ("LaTeX table (booktabs)", f"{latex_table(what.found, told)}\n".encode()),
        "comparison.csv": ("Comparison, unrounded (CSV)", csv_bytes(comparison_rows(what.found))),
        "table.csv": ("Every run (CSV)", csv_bytes(what.table.rows)),
    }
    with st.container(horizontal=True):
        for name, (label, content) in files.items():
            download(label, content, name, f"compare_save_{name}")
    st.caption("The camera over each figure saves it as SVG.")
    st.markdown(markdown_table(what.found))
