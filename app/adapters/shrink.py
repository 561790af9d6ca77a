"""The section of the Adapters page that suggests ranks and writes a smaller adapter."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import streamlit as st

from adapters.source import Source, mapped
from adapters.zips import zipped
from analysis.adapters import (
    DTYPES,
    ORDERS,
    TARGETS,
    AdapterError,
    AdapterSpectra,
    Suggestion,
    compress_adapter,
    config_snippet,
    describe_suggestion,
    size_at,
    size_now,
    suggest_ranks,
    total_error,
    truncation_errors,
)
from analysis.adapters.words import describe_bound, describe_sizes
from charts import chart
from runs.store import allowed, plain, runs_root
from widgets import download, progress, select

TARGET_NAMES = {
    "rank": "total rank",
    "parameters": "parameters",
    "bytes": "bytes of the file",
    "energy": "energy that stays",
    "error": "error of ΔW",
}
SAME = "as it is"
"""Type of the numbers that a written adapter has: that of the one it comes from."""


def shrink_section(source: Source) -> None:
    """Suggest ranks for a target; show what it costs; write the smaller adapter."""
    spectra = mapped(source)
    suggestion = _ask_suggestion(spectra)
    if suggestion is None:
        return
    st.markdown(plain(describe_suggestion(spectra, suggestion)))
    if spectra.broken:
        st.info("Matrices with NaN cannot be truncated, so errors are not stated.", icon=":material/info:")
        return
    before, after = size_now(spectra.adapter), size_at(spectra.adapter, suggestion.ranks)
    st.markdown(plain(f"{describe_sizes(before, after)} {describe_bound(suggestion)}"))
    errors = truncation_errors(spectra, suggestion.ranks)
    whole = total_error(errors, spectra)
    st.caption(
        f"Error of ΔW over all matrices: {whole['relative']:.2%} in the Frobenius norm ({whole['frobenius']:.4g}); "
        f"at most {whole['spectral']:.4g} in the spectral norm of a matrix. What that does to accuracy only a test can "
        "say."
    )
    left, right = st.columns([0.55, 0.45])
    with left:
        told = "Rank of each matrix now, and the rank that would stay"
        chart("adapters_change", told, "rank_change_map", spectra, suggestion.ranks)
        told = "Error of ΔW against the number of parameters, one budget over all matrices"
        chart("adapters_curve", told, "size_curve", spectra, {"chosen": suggestion})
        with st.expander("Error of each matrix"):
            st.dataframe([vars(error) for error in errors], hide_index=True, key="adapters_errors")
    with right:
        st.markdown("## Every order at this target")
        st.dataframe(_all_orders(spectra, suggestion), hide_index=True, key="adapters_orders")
        st.markdown("## To train anew at these ranks")
        st.code(config_snippet(spectra.adapter, suggestion.ranks), language="python", height=220)
    _write(source, spectra, suggestion)


def _ask_suggestion(spectra: AdapterSpectra) -> Suggestion | None:
    adapter = spectra.adapter
    total, count = sum(matrix.rank for matrix in adapter.matrices), len(adapter.matrices)
    columns = st.columns([0.3, 0.3, 0.4])
    first, named = list(TARGETS).index("energy"), TARGET_NAMES.get
    target = select("Target", [*TARGETS], "adapters_target", columns[0], index=first, format_func=named)
    key = f"adapters_value_{target}_{total}_{adapter.parameters}"
    if target in ("energy", "error"):
        label, shown = "keep at least" if target == "energy" else "at most", "%.3f"
        numbers: tuple[Any, ...] = (0.01, 1.0, 0.99, 0.001) if target == "energy" else (0.0, 0.99, 0.1, 0.005)
    else:
        whole = {"rank": total, "parameters": adapter.parameters, "bytes": size_now(adapter).total}[target]
        start = max(count, whole // 2) if target == "rank" else whole // 2
        label, shown, numbers = f"at most, of {whole:,}", None, (0, whole, start, 1)
    value = columns[1].slider(label, *numbers, format=shown, key=key, help=TARGETS[target], persist_state="session")
    by = select(
        "Which matrix gives the next direction",
        list(ORDERS),
        "adapters_by",
        columns[2],
        format_func=lambda name: name.replace("_", " "),
        help="least error: the direction with the least energy anywhere. A measure of importance: the least "
        "important matrix gives its smallest direction, as FlexLoRA prunes. uniform: one rank for all, the control.",
    )
    try:
        return suggest_ranks(spectra, target, value, by)
    except AdapterError as error:
        st.error(plain(str(error)), icon=":material/error:")
        return None


def _all_orders(spectra: AdapterSpectra, suggestion: Suggestion) -> list[dict[str, Any]]:
    rows = []
    for by in ORDERS:
        found = suggest_ranks(spectra, suggestion.target, suggestion.value, by)
        error = total_error(truncation_errors(spectra, found.ranks), spectra)
        rows.append(
            {
                "order": by.replace("_", " "),
                "total rank": found.total_rank,
                "parameters": found.parameters,
                "energy kept": f"{found.energy_kept:.2%}",
                "relative error": f"{error['relative']:.2%}",
            }
        )
    return rows


def _write(source: Source, spectra: AdapterSpectra, suggestion: Suggestion) -> None:
    columns = st.columns([0.5, 0.15, 0.35], vertical_alignment="bottom")
    name = f"{source.label}-r{suggestion.total_rank}"
    folder = columns[0].text_input(
        "Write the smaller adapter to",
        str(runs_root() / "adapters" / name),
        key=f"adapters_out_{source.label}_{suggestion.total_rank}",
        help="A new folder, on the machine that runs the Lab. PEFT loads it.",
    )
    asked = select("Numbers", [SAME, *DTYPES], "adapters_dtype", columns[1])
    dtype = None if asked == SAME else asked
    with columns[2].container(horizontal=True):
        here = st.button("Write", key="adapters_write", type="primary", icon=":material/save:")
        away = st.button("Make a zip", key="adapters_zip", icon=":material/folder_zip:")
    if not (here or away):
        return
    try:
        with progress("Truncating") as count:
            if here:
                errors = compress_adapter(spectra, suggestion.ranks, allowed(Path(folder), AdapterError), count, dtype)
                measured = f"Measured on the file: relative error {total_error(errors, spectra)['relative']:.2%}."
                st.success(f"Written to {plain(folder)}. {measured}", icon=":material/check:")
            else:
                file, content = f"{name}.zip", _zipped(spectra, suggestion, dtype, count)
                download(f"Download {file}", content, file, "adapters_zip_download", mime="application/zip")
    except AdapterError as error:
        st.error(plain(str(error)), icon=":material/error:")


def _zipped(spectra: AdapterSpectra, suggestion: Suggestion, dtype: str | None, count: Any) -> bytes:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / "adapter"
        compress_adapter(spectra, suggestion.ranks, folder, count, dtype)
        return zipped(folder)
