"""Several adapters: how far they overlap, what speaks against merging them, and the merge."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import streamlit as st

from adapters.examples import bundled_adapters, own_adapters, recent_adapters
from adapters.findings import ICONS
from adapters.source import Source, siblings
from adapters.zips import zipped
from analysis.adapters import Adapter, AdapterError
from analysis.adapters.doctor import NOTE, examine_together
from analysis.adapters.many import SIDES
from analysis.adapters.merging import MERGES, merge_adapters
from analysis.adapters.own import open_any
from analysis.adapters.sections import pair_rows
from charts import chart, dark
from runs.store import named, plain
from widgets import download, progress, select, switch

COLUMNS = {
    "output": "output",
    "chance_output": "by chance",
    "input": "input",
    "chance_input": "by chance ",
    "cosine": "cosine of ΔW",
}
MOST = 12
"""Adapters that are compared at once."""


def several_section(source: Source) -> None:
    """Compare the open adapter with any number of others, and merge them."""
    adapters = _asked(source)
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
    left, right = st.columns([0.5, 0.5])
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
        st.dataframe(pair_rows(compared), hide_index=True, key="adapters_many_pairs", column_config=columns)
        st.caption(
            "0 = orthogonal, 1 = the smaller lies within the larger; chance is what random subspaces of these ranks "
            "have. Cosine: of both ΔW as vectors; merging adds up what is above 0 and cancels what is below."
        )
    _merge(adapters)


def _asked(source: Source) -> list[Adapter]:
    beside = siblings(source)
    known = dict.fromkeys(beside, "") | bundled_adapters() | own_adapters() | recent_adapters()
    columns = st.columns(2)
    picked = columns[0].multiselect("Adapters that are there", list(known), key="adapters_many_known")
    typed = columns[1].text_area("Others, a path a line", key="adapters_many_paths", height=80)
    paths = [known[name] for name in picked if name not in beside] + [
        line.strip() for line in typed.splitlines() if line.strip()
    ]
    # An upload, and an adapter of the Lab, lies in a folder whose name says nothing.
    found = [replace(source.spectra.adapter, name=source.label)]
    chosen: list[str | Path] = [*(beside[name] for name in picked if name in beside), *paths]
    for path in chosen[: MOST - 1]:
        try:
            found.append(open_any(path if isinstance(path, Path) else named(path, AdapterError)))
        except (OSError, ValueError) as error:
            st.error(f"**{plain(str(path))}** cannot be opened. {plain(str(error))}", icon=":material/error:")
    return found


def _merge(adapters: list[Adapter]) -> None:
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
            st.number_input(plain(adapter.name), -10.0, 10.0, 1.0, 0.1, key=f"adapters_weight_{place}", width=150)
            for place, adapter in enumerate(adapters)
        ]
    if not st.button("Merge into a zip", key="adapters_merge", icon=":material/merge:"):
        return
    try:
        with tempfile.TemporaryDirectory() as made, progress("Merging") as count:
            folder = Path(made) / "merged"
            merge = merge_adapters(adapters, folder, how, weights, density, progress=count)
            content = zipped(folder)
    except AdapterError as error:
        st.error(plain(str(error)), icon=":material/error:")
        return
    st.success(
        f"‖ΔW‖_F is {merge.norm:.4g}; {merge.apart:.4g} if the parts were orthogonal. Error of what was written: "
        f"{merge.error:.2%}.",
        icon=":material/check:",
    )
    for warning in merge.warnings:
        st.warning(plain(warning), icon=":material/warning:")
    st.markdown(plain(merge.summary))
    for notice in merge.notices:
        st.caption(plain(notice))
    download("Download merged.zip", content, "merged.zip", "adapters_merged_download", mime="application/zip")
