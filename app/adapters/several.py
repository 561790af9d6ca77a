"""Several adapters: how far they overlap, what speaks against merging them, and the merge."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import streamlit as st

from adapters.findings import ICONS
from adapters.picks import picked_adapters
from adapters.source import Source
from adapters.zips import merged_name, zipped
from analysis.adapters import Adapter, AdapterError
from analysis.adapters.doctor import NOTE, examine_together
from analysis.adapters.many import SIDES, Comparisons
from analysis.adapters.merging import MERGES, lost_heads, merge_adapters
from analysis.adapters.relations import listed, merge_summary, merge_warnings
from analysis.adapters.sections import pair_rows
from analysis.adapters.words import ROUNDING
from charts import chart, dark
from runs.store import plain
from widgets import download, progress, select, switch

COLUMNS = {
    "output": "output",
    "chance_output": "by chance",
    "input": "input",
    "chance_input": "by chance ",
    "cosine": "cosine of ΔW",
}
WIDE = 5
"""Adapters above which the picture has the whole width."""


def several_section(source: Source) -> None:
    """Compare the open adapter with any number of others, and merge them."""
    adapters = picked_adapters(source)
    if len(adapters) < 2:
        st.caption("Name one adapter or more, each on a line of its own, or choose some that are there.")
        return
    try:
        with progress("Subspaces") as count:
            compared, findings = examine_together(adapters, count)
    except AdapterError as error:
        st.warning(plain(str(error)), icon=":material/info:")
        return
    st.caption(plain(f"{adapters[0].name} is open, and compared with the others."))
    for finding in findings:
        told = f"**{plain(finding.text)}** {plain(finding.advice)}"
        (st.info if finding.level == NOTE else st.warning)(told, icon=ICONS[finding.level])
    for notice in compared.notices:
        st.caption(plain(notice))
    # Cells of many adapters need the whole width, or their numbers cannot be read.
    left, right = (st.container(), st.container()) if len(adapters) > WIDE else st.columns([0.5, 0.5])
    with left:
        side = switch(
            "Subspace", list(SIDES), "adapters_many_side", help="output: column space of ΔW. input: row space."
        )
        layers = compared.layers()
        labels = {"all matrices": None, **{f"layer {layer}": layer for layer in layers if layer is not None}}
        asked = select("Where", list(labels), "adapters_many_layer")
        chart(
            "adapters_many",
            f"Overlap of the {side} subspaces of every two adapters",
            "overlap_matrix",
            compared,
            side,
            labels[asked],
            dark(),
        )
    with right:
        st.markdown("## Every two")
        columns = {key: st.column_config.NumberColumn(label, format="%.3f") for key, label in COLUMNS.items()}
        # 0 is added so that no −0 is shown.
        rows = [
            row | {"cosine": None if row["cosine"] is None else round(row["cosine"], 3) + 0.0}
            for row in sorted(pair_rows(compared), key=lambda row: -abs(row["cosine"] or 0.0))
        ]
        st.dataframe(rows, hide_index=True, key="adapters_many_pairs", column_config=columns)
        st.caption(
            "0 = orthogonal, 1 = the smaller lies within the larger; chance is what random subspaces of these ranks "
            "have, and the colour what is above it. Cosine: of both ΔW as vectors; merging adds up what is above 0 and "
            "cancels what is below."
        )
    _merge(adapters, compared)


def _say_before(adapters: list[Adapter], compared: Comparisons, weights: list[float], how: str) -> bool:
    """Draw what speaks against the merge and what it does; return whether it can be made."""
    holding = [name for place, name in enumerate(compared.names) if np.isnan(compared.products[:, place, place]).any()]
    if holding:
        hold = "holds" if len(holding) == 1 else "hold"
        st.error(
            plain(f"{listed(holding)} {hold} NaN or infinity, and so would the merged adapter: leave it out to merge."),
            icon=":material/error:",
        )
        return False
    products = compared.products.sum(axis=0)
    tasks = [(adapter.config or {}).get("task_type") for adapter in adapters]
    for warning in (*lost_heads(adapters, compared.names), *merge_warnings(compared.names, tasks, products, weights)):
        st.warning(plain(warning), icon=":material/warning:")
    st.markdown(plain(merge_summary(compared.names, products, weights, how)))
    return True


def _merge(adapters: list[Adapter], compared: Comparisons) -> None:
    st.markdown("## Merge")
    st.caption("linear is the exact weighted sum. TIES and DARE choose among the entries of ΔW.")
    columns = st.columns(2, vertical_alignment="bottom")
    how = select("How", list(MERGES), "adapters_merge_how", columns[0])
    density = columns[1].slider(
        "Share of entries kept", 0.05, 1.0, 0.5, key="adapters_density", disabled=how == "linear"
    )
    st.markdown("Weights of the sum")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        weights = [
            st.number_input(plain(adapter.name), -10.0, 10.0, 1.0, 0.1, "%.4g", f"adapters_weight_{place}", width=150)
            for place, adapter in enumerate(adapters)
        ]
    able = _say_before(adapters, compared, weights, how)
    if not st.button("Merge into a zip", key="adapters_merge", icon=":material/merge:", disabled=not able):
        return
    try:
        with tempfile.TemporaryDirectory() as made, progress("Merging") as count:
            folder = Path(made) / "merged"
            merge = merge_adapters(adapters, folder, how, weights, density, progress=count)
            content = zipped(folder)
    except AdapterError as error:
        st.error(plain(str(error)), icon=":material/error:")
        return
    told = f"‖ΔW‖_F is {merge.norm:.4g}; {merge.apart:.4g} if the parts were orthogonal."
    lost = f"Error of what was written: {merge.error:.2%}"
    if merge.error > ROUNDING:
        why = f"what {how} makes is of no low rank, and the ranks of the parts together cannot hold it"
        st.warning(f"{told} {lost}: {why}. linear would lose nothing.", icon=":material/warning:")
    else:
        st.success(f"{told} {lost}.", icon=":material/check:")
    for notice in merge.notices:
        st.caption(plain(notice))
    file = f"{merged_name(compared.names, how)}.zip"
    download(f"Download {file}", content, file, "adapters_merged_download", mime="application/zip")
