"""The sections of the Adapters page."""

from __future__ import annotations

from typing import Any

import streamlit as st

from adapters.findings import findings_of
from adapters.others import offer_other
from adapters.source import Source, ask_source, mapped
from analysis.adapters import (
    CAVEAT,
    TABLE_FILES,
    AdapterError,
    AdapterSpectra,
    Comparison,
    adapter_label,
    compare_adapters,
    describe_moves,
    flexlora_moves,
)
from analysis.adapters.doctor import Finding
from analysis.adapters.relations import describe_comparison
from analysis.adapters.words import in_digits
from analysis.figures import FIGURES
from analysis.figures.adapters import MAP_COLOURS
from analysis.figures.theme import CONFIG as PLOT
from charts import chart, dark
from runs.store import plain
from widgets import download, progress, select, switch

SELECTED = "adapters_matrix"
MAP = "adapters_map"

AIMED = "adapters_aimed"
"""Path of the adapter to whose finding the map was turned."""
COLOUR_OF = {"unused": "rank_99", "faint": "rank_99", "noisy_tail": "entropy", "size": "root_mean_square"}
"""Check → what shows its finding on the map; the others are seen in the norm."""

FORMATS = {
    **dict.fromkeys(("entropy", "effective_rank", "stable_rank"), "%.3f"),
    **dict.fromkeys(("energy", "norm", "spectral_norm", "root_mean_square", "scale"), "%.4g"),
}
MIME = {"csv": "text/csv", "parquet": "application/octet-stream", "json": "application/json"}


def map_section(source: Source) -> None:
    """Draw the map, and the spectrum of the selected matrix."""
    spectra = mapped(source)
    aimed = _aim(source)
    left, right = st.columns([0.55, 0.45])
    with left:
        colour = select("Colour", [*MAP_COLOURS], "adapters_colour", format_func=lambda key: MAP_COLOURS[key].label)
    with right:
        selected = _select(spectra)
    with left:
        st.plotly_chart(
            FIGURES["adapter_map"](spectra, colour, selected, dark()),
            key=MAP,
            on_select=_clicked,
            selection_mode="points",
            config=PLOT,
            alt=f"Map of {MAP_COLOURS[colour].label}, layer by module type; the Table view has the same numbers",
        )
        first = f"Opened at what was found: {plain(aimed.text)} " if aimed is not None else ""
        st.caption(f"{first}Click a cell, or choose a matrix on the right. ‘dead’: ΔW is 0. ∅: undefined.")
    with right:
        told = f"Singular values of {selected}, and the energy they hold together"
        chart("adapters_spectrum", told, "adapter_spectrum", {source.label: spectra}, selected)
        st.caption(plain(_about(spectra, selected)))
    if not any(row["state"] == "live" for row in spectra.table()):
        st.info("No matrix has energy to share among directions: nothing to draw.", icon=":material/info:")
        return
    told = "Share of energy in the first directions, one line a matrix"
    chart("adapters_energy", told, "energy_curves", spectra, selected)
    st.caption("The thick line is the matrix chosen above; the dashed ones are 90 % and 99 %.")


def _aim(source: Source) -> Finding | None:
    """Turn the map to the worst finding when an adapter is opened; return the finding while nobody turned it away."""
    aims = [finding for finding in findings_of(source.spectra) if finding.matrices]
    if not aims:
        st.session_state.pop(AIMED, None)
        return None
    finding = aims[0]
    colour = COLOUR_OF.get(finding.check, "norm")
    shown = "root_mean_square" if colour == "root_mean_square" else "norm"
    sizes = {row["matrix"]: row[shown] or 0.0 for row in source.spectra.table()}
    matrix = max(finding.matrices, key=lambda name: sizes[name])
    if st.session_state.get(AIMED) != source.path:
        st.session_state[AIMED] = source.path
        st.session_state[SELECTED], st.session_state["adapters_colour"] = matrix, colour
    same = st.session_state.get(SELECTED) == matrix and st.session_state.get("adapters_colour") == colour
    return finding if same else None


def table_section(source: Source) -> None:
    """Draw the table with its downloads, and let layer and module type be corrected."""
    spectra = mapped(source)
    columns = {key: st.column_config.NumberColumn(key, format=shown) for key, shown in FORMATS.items()}
    st.dataframe(spectra.table(), hide_index=True, key="adapters_table", column_config=columns)
    with st.container(horizontal=True):
        for ending, make in TABLE_FILES.items():
            name, key = f"{source.label}.{ending}", f"adapters_download_{ending}"
            download(ending.upper(), make(spectra), name, key, mime=MIME[ending])
    with st.expander("Correct layers and module types", icon=":material/edit:"):
        _correct(source)


def moves_section(source: Source) -> None:
    """Say what one event of FlexLoRA's rule would move."""
    spectra = mapped(source)
    budget = st.number_input(
        "Directions that may move (b)",
        0,
        max(1, len(spectra.adapter.matrices)),
        min(3, len(spectra.adapter.matrices)),
        key="adapters_budget",
        width=260,
        persist_state="session",
    )
    moves = flexlora_moves(spectra, int(budget))
    st.markdown(plain(describe_moves(spectra, moves)))
    st.caption(
        f"{CAVEAT} Shrink it asks another question: which directions hold so little energy that they may go. The rule "
        "asks which matrix uses its directions evenly, whatever its size, so it may give one to a matrix that Shrink "
        "it cuts."
    )
    after = {matrix.name: matrix.rank for matrix in spectra.adapter.matrices}
    for name in moves.prune:
        after[name] -= 1
    for name in moves.extend:
        after[name] += 1
    if moves.prune or moves.extend:
        told, title = "Rank of each matrix before and after one event", "Rank: now → after one event"
        chart("adapters_moves", told, "rank_change_map", spectra, after, title=title, dark=dark())


def compare_section(source: Source) -> None:
    """Hold a second adapter against the first."""
    offer_other(source, "adapters_other")
    other = ask_source("adapters_other", "Second adapter", near=source.path.parent)
    if other is None:
        st.caption("Choose a second adapter of the same model: another seed, another task, the one before compression.")
        return
    first = mapped(source)
    try:
        found = _compared(source, other)
    except AdapterError as error:
        st.warning(plain(str(error)), icon=":material/info:")
        return
    second = other.label if other.label != source.label else f"{other.label} (second)"
    st.markdown(plain(" ".join(describe_comparison(found, source.label, second))))
    for notice in found.notices:
        st.caption(plain(notice))
    left, right = st.columns([0.55, 0.45])
    with left:
        spaces = "output: column space of ΔW. input: row space."
        side = switch("Subspace", ["output", "input"], "adapters_side", help=spaces)
        told = f"Overlap of the {side} subspaces of both adapters"
        chart("adapters_overlap", told, "overlap_map", found, first.adapter.matrices, side, dark())
    with right:
        selected = _select(first)
        both = {source.label: first, second: other.spectra}
        chart("adapters_both", f"Singular values of {selected} in both adapters", "adapter_spectrum", both, selected)
    st.dataframe(_overlap_rows(found), hide_index=True, key="adapters_overlaps")
    for missing, which in ((found.only_first, "first"), (found.only_second, "second")):
        if missing:
            with st.expander(f"{len(missing)} matrices only in the {which}"):
                st.markdown("  \n".join(plain(name) for name in missing))


def _compared(source: Source, other: Source) -> Comparison:
    """Compare once for as long as both adapters stay open; a layer or a type does not matter here."""
    kept: tuple[AdapterSpectra, AdapterSpectra, Comparison] | None = st.session_state.get("adapters_compared")
    if kept is not None and kept[0] is source.spectra and kept[1] is other.spectra:
        return kept[2]
    with progress("Subspaces") as count:
        found = compare_adapters(source.spectra.adapter, other.spectra.adapter, count)
    st.session_state["adapters_compared"] = (source.spectra, other.spectra, found)
    return found


def _select(spectra: AdapterSpectra) -> str:
    names = [matrix.name for matrix in spectra.adapter.matrices]
    labels = {matrix.name: f"{adapter_label(matrix)}  ·  {matrix.name}" for matrix in spectra.adapter.matrices}
    if st.session_state.get(SELECTED) not in names:
        st.session_state[SELECTED] = names[0]
    return select("Matrix", names, SELECTED, format_func=lambda name: labels[name])


def _clicked() -> None:
    points = st.session_state[MAP]["selection"]["points"]
    if points and points[0].get("customdata"):
        found = points[0]["customdata"]
        st.session_state[SELECTED] = found[0] if isinstance(found, list | tuple) else found.get("0", found)


def _about(spectra: AdapterSpectra, name: str) -> str:
    row = next(row for row in spectra.table() if row["matrix"] == name)
    if row["state"] != "live":
        return f"{name} is {row['state']}."

    def shown(key: str) -> str:
        return "undefined" if row[key] is None else in_digits(row[key])

    return (
        f"{row['rank_99']} of {row['rank']} directions hold 99 % of its energy, {row['rank_90']} hold 90 %. Entropy "
        f"{shown('entropy')}, effective rank {shown('effective_rank')}, stable rank {shown('stable_rank')}; "
        f"‖ΔW‖_F {shown('norm')}, largest σ {shown('spectral_norm')}."
    )


def _correct(source: Source) -> None:
    places: dict[str, Any] = st.session_state.setdefault("adapters_places", {})
    key = str(source.path)
    version = st.session_state.setdefault("adapters_version", 0)
    matrices = source.spectra.adapter.matrices
    editor = f"adapters_editor_{version}_{key}"
    # What the editor starts from must not move under its own changes, but an editor that comes back has lost them.
    if editor not in st.session_state:
        st.session_state["adapters_start"] = dict(places.get(key, {}))
    start = st.session_state["adapters_start"]
    shown = [(matrix.name, *start.get(matrix.name, (matrix.layer, matrix.module_type))) for matrix in matrices]
    edited = st.data_editor(
        [{"matrix": name, "layer": layer, "module_type": kind} for name, layer, kind in shown],
        key=editor,
        disabled=["matrix"],
        hide_index=True,
        column_config={"layer": st.column_config.NumberColumn("layer", min_value=0, step=1)},
    )
    changed = {}
    for matrix, row in zip(matrices, edited, strict=True):
        layer = None if row["layer"] is None else int(row["layer"])
        kind = str(row["module_type"] or "").strip() or matrix.module_type
        if (layer, kind) != (matrix.layer, matrix.module_type):
            changed[matrix.name] = (layer, kind)
    if changed != places.get(key, {}):
        places[key] = changed
        st.rerun()
    if changed and st.button("Back to what the names say", key="adapters_mapping_reset"):
        places.pop(key, None)
        st.session_state["adapters_version"] = version + 1
        st.rerun()


def _overlap_rows(found: Comparison) -> list[dict[str, Any]]:
    return [
        {
            "matrix": overlap.matrix,
            "rank, first": overlap.ranks[0],
            "rank, second": overlap.ranks[1],
            "output overlap": overlap.output_overlap,
            "by chance ": overlap.output_chance,
            "input overlap": overlap.input_overlap,
            "by chance": overlap.input_chance,
            "cosine of ΔW": overlap.similarity,
        }
        for overlap in found.overlaps
    ]
