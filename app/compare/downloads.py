"""What can be taken along: the tables for a paper, its figures as SVG and PDF, and all of it as one zip."""

from __future__ import annotations

import tempfile
from pathlib import Path

import streamlit as st

from analysis.study import claims, comparison_rows, markdown_table
from analysis.study.export import comparison_files, write_archive
from analysis.study.paper import exporter_missing, write_figures
from analysis.study.pictures import study_pictures
from compare.shown import Shown, behind
from flexlora.errors import FlexLoRAError
from flexlora.run_log import RunLogError
from flexlora.study.files import TABLE
from flexlora.study.table import csv_bytes
from runs.store import plain
from widgets import download

LABELS = {
    "comparison.md": "Markdown table",
    "comparison.tex": "LaTeX table (booktabs)",
    "comparison.csv": "Comparison, unrounded (CSV)",
    TABLE: "Every run (CSV)",
}
PACKED = "compare_packed"


def downloads(what: Shown) -> None:
    """Draw the buttons that save tables, figures and everything."""
    files = {**comparison_files(what.table, what.found), TABLE: csv_bytes(what.table.rows)}
    with st.container(horizontal=True):
        for name, label in LABELS.items():
            download(label, files[name], name, f"compare_save_{name}")
    _packed(what)
    if what.note:
        st.warning(f"All of it says so: {plain(what.note)}", icon=":material/balance:")
    st.markdown(markdown_table(what.found).replace("### ", "#### "))
    said = [{"verdict": claim.verdict, "claim": claim.text} for claim in claims(what.table, what.found)]
    behind(said, "Claims with their verdicts", "compare_table_claims", "Claims")
    behind(
        comparison_rows(what.found), "Comparisons: one row a variant, unrounded", "compare_table_rows", "Comparisons"
    )


def _packed(what: Shown) -> None:
    """Pack tables, claims, settings of the runs and figures; drawing them for print takes a while."""
    missing = exporter_missing()
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Pack everything", key="compare_pack", icon=":material/folder_zip:"):
            _keep(what, drawn=False)
        told = "Every figure as SVG and PDF at the width of one column and of two, beside everything else"
        pressed = st.button(
            "Pack with figures for print",
            key="compare_draw",
            icon=":material/print:",
            disabled=bool(missing),
            help=told,
        )
        if pressed:
            _keep(what, drawn=True)
        kept = st.session_state.get(PACKED)
        if kept is not None and kept[0] == _ident(what):
            download(f"Save {kept[1]}", kept[2], kept[1], "compare_save_zip", mime="application/zip", type="primary")
    st.caption(plain(missing) if missing else "The camera over each figure saves it as SVG.")


def _keep(what: Shown, *, drawn: bool) -> None:
    try:
        with st.spinner("Drawing and packing" if drawn else "Packing"), tempfile.TemporaryDirectory() as folder:
            pictures = Path(folder) / "figures"
            if drawn:
                write_figures(study_pictures(what.table, what.found, what.groups), pictures)
            target = Path(folder) / "comparison.zip"
            write_archive(target, what.table, what.groups, drawn=pictures if drawn else None)
            name = "comparison-with-figures.zip" if drawn else "comparison.zip"
            st.session_state[PACKED] = (_ident(what), name, target.read_bytes())
    except (FlexLoRAError, RunLogError, OSError) as error:
        st.error(plain(str(error)), icon=":material/error:")


def _ident(what: Shown) -> tuple[str, ...]:
    """What a packed file is of: of another comparison it is not offered."""
    references = (str(group["reference"]) for group in what.table.summary["groups"])
    return str(what.table.folder), what.note, *references, *(str(row["run"]) for row in what.table.rows)
