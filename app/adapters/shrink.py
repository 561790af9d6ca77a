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
    FORMS,
    ORDERS,
    SAME,
    TARGETS,
    AdapterError,
    AdapterSpectra,
    Suggestion,
    TruncationError,
    compress_adapter,
    config_snippet,
    describe_suggestion,
    forms_of,
    plan_size,
    planned,
    size_now,
    suggest_ranks,
    total_error,
    truncation_errors,
)
from analysis.adapters.plans import PLAIN
from analysis.adapters.words import describe_bound, describe_sizes, size_warnings
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
SAME_TYPE = "as it is"
"""Type of the numbers that a written adapter has: that of the one it comes from."""


def shrink_section(source: Source) -> None:
    """Suggest ranks for a target; show what it costs; write the smaller adapter."""
    spectra = mapped(source)
    form, refused = _ask_form(spectra)
    suggestion = _ask_suggestion(spectra, form)
    if suggestion is None:
        return
    st.markdown(plain(describe_suggestion(spectra, suggestion)))
    if spectra.broken:
        st.info("Matrices with NaN cannot be truncated, so errors are not stated.", icon=":material/info:")
        return
    before, after = size_now(spectra.adapter), plan_size(planned(spectra.adapter, suggestion.ranks, form=form))
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
        st.dataframe(_all_orders(spectra, suggestion, form), hide_index=True, key="adapters_orders")
        st.markdown("## To train anew at these ranks")
        st.code(config_snippet(spectra.adapter, suggestion.ranks), language="python", height=220)
    if refused:
        st.info(plain(refused), icon=":material/info:")
    else:
        _write(source, spectra, suggestion, form)


def _ask_form(spectra: AdapterSpectra) -> tuple[str, str]:
    """Return as what the adapter is written, asked for where there is a choice, and why it cannot be; "" = it can."""
    found = forms_of(spectra.adapter)
    able = [form for form, why in found.items() if not why]
    if spectra.adapter.format == "peft":
        # A plain LoRA in PEFT's format is PEFT's.
        able = able[:1]
    elif not found[SAME]:
        able = [form for form in able if form != PLAIN]
    if not able:
        return SAME, found[SAME]
    form = able[0] if len(able) == 1 else select("Written as", able, "adapters_form", format_func=FORMS.get)
    return form, ""


def _ask_suggestion(spectra: AdapterSpectra, form: str) -> Suggestion | None:
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
        return suggest_ranks(spectra, target, value, by, form=form)
    except AdapterError as error:
        st.error(plain(str(error)), icon=":material/error:")
        return None


def _all_orders(spectra: AdapterSpectra, suggestion: Suggestion, form: str) -> list[dict[str, Any]]:
    rows = []
    for by in ORDERS:
        found = suggest_ranks(spectra, suggestion.target, suggestion.value, by, form=form)
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


def _write(source: Source, spectra: AdapterSpectra, suggestion: Suggestion, form: str) -> None:
    columns = st.columns([0.5, 0.15, 0.35], vertical_alignment="bottom")
    name = f"{source.label.removesuffix('.safetensors')}-r{suggestion.total_rank}"
    folder = columns[0].text_input(
        "Write the smaller adapter to",
        str(runs_root() / "adapters" / name),
        key=f"adapters_out_{source.label}_{suggestion.total_rank}",
        help=f"A new folder, on the machine that runs the Lab. It will hold {FORMS[form]}.",
    )
    asked = select("Numbers", [SAME_TYPE, *DTYPES], "adapters_dtype", columns[1])
    dtype = None if asked == SAME_TYPE else asked
    with columns[2].container(horizontal=True):
        here = st.button("Write", key="adapters_write", type="primary", icon=":material/save:")
        away = st.button("Make a zip", key="adapters_zip", icon=":material/folder_zip:")
    plan = planned(spectra.adapter, suggestion.ranks, dtype, form)
    for notice in plan.notices:
        st.caption(plain(notice))
    if not (here or away):
        return
    try:
        with progress("Truncating") as count:
            if here:
                place = allowed(Path(folder), AdapterError)
                errors = compress_adapter(spectra, suggestion.ranks, place, count, dtype, form)
                done = f"Written to {plain(folder)}."
            else:
                file = f"{name}.zip"
                errors, content = _zipped(spectra, suggestion, dtype, form, count)
                download(f"Download {file}", content, file, "adapters_zip_download", mime="application/zip")
                done = f"{plain(file)} is ready."
    except AdapterError as error:
        st.error(plain(str(error)), icon=":material/error:")
        return
    measured = total_error(errors, spectra)["relative"]
    before, after = size_now(spectra.adapter), plan_size(plan)
    told = f"{describe_sizes(before, after)} Measured on the file: relative error {measured:.2%}."
    st.success(f"{done} {plain(told)}", icon=":material/check:")
    for warning in size_warnings(before, after, suggestion.error, measured):
        st.warning(plain(f"{warning[0].upper()}{warning[1:]}"), icon=":material/warning:")


def _zipped(
    spectra: AdapterSpectra, suggestion: Suggestion, dtype: str | None, form: str, count: Any
) -> tuple[list[TruncationError], bytes]:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / "adapter"
        errors = compress_adapter(spectra, suggestion.ranks, folder, count, dtype, form)
        return errors, zipped(folder)
