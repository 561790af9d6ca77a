"""The section of the Adapters page that suggests ranks and writes a smaller adapter."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import streamlit as st

from adapters.source import Source, mapped
from adapters.zips import smaller_name, zipped
from analysis.adapters import (
    DTYPES,
    FORMS,
    ORDERS,
    SAME,
    TARGETS,
    Adapter,
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
    size_at,
    size_now,
    suggest_ranks,
    total_error,
    truncation_errors,
)
from analysis.adapters.doctor.nothing import HARDLY
from analysis.adapters.formats.plan import Plan
from analysis.adapters.halves import Half, best_half, half_type
from analysis.adapters.plans import PLAIN
from analysis.adapters.words import describe_bound, describe_sizes, size_warnings
from analysis.figures.theme import capital
from charts import chart, dark
from runs.store import allowed, plain, runs_root
from widgets import act, download, progress, select

TARGET_NAMES = {
    "rank": "total rank",
    "parameters": "parameters",
    "bytes": "bytes of the file",
    "energy": "energy that stays",
    "error": "error of ΔW",
}
SAME_TYPE = "as it is"
"""Type of the numbers that a written adapter has: that of the one it comes from."""


CHOSEN = "adapters_chosen"
"""Of which adapter, and what the last suggestion comes to under every target, once somebody chose a value."""
BUDGET = "adapters_bytes"
"""Of which adapter, and the bytes that its slider stands at."""


class Written(NamedTuple):
    """As what a smaller adapter is written: ``form`` a key of ``FORMS``, ``dtype`` of ``DTYPES`` or None = as it is."""

    form: str
    dtype: str | None


def shrink_section(source: Source) -> None:
    """Suggest ranks for a target; show what it costs; write the smaller adapter."""
    spectra = mapped(source)
    if spectra.broken:
        st.info(
            "Matrices that hold NaN or infinity cannot be truncated, so no ranks are suggested and nothing is written.",
            icon=":material/info:",
        )
        return
    form, refused = _ask_form(spectra)
    columns = st.columns([0.23, 0.27, 0.3, 0.2])
    types = [SAME_TYPE, *DTYPES]
    asked = select("Numbers", types, _dtype_key(source), columns[3], help="Type of the factors.")
    written = Written(form, None if asked == SAME_TYPE else asked)
    _keep_bytes(spectra, written)
    suggestion = _ask_suggestion(spectra, written, columns)
    if suggestion is None:
        return
    st.markdown(plain(describe_suggestion(spectra, suggestion)))
    before, plan = size_now(spectra.adapter), planned(spectra.adapter, suggestion.ranks, written.dtype, form)
    st.markdown(plain(f"{describe_sizes(before, plan_size(plan))} {describe_bound(suggestion)}"))
    errors = truncation_errors(spectra, suggestion.ranks)
    whole = total_error(errors, spectra)
    rounding = f" Rounding to {written.dtype} comes on top and is measured when it is written." if written.dtype else ""
    st.caption(
        f"Error of ΔW over all matrices: {whole['relative']:.2%} in the Frobenius norm ({whole['frobenius']:.4g}); "
        f"at most {whole['spectral']:.4g} in the spectral norm of a matrix.{rounding} What that does to accuracy only "
        "a test can say."
    )
    for warning in size_warnings(before, plan_size(plan), whole["relative"], whole["relative"]):
        st.warning(plain(capital(warning)), icon=":material/warning:")
    _offer_lossless(spectra, suggestion, written)
    _offer_half(source, spectra, plan, written, whole["relative"])
    if refused:
        st.info(plain(refused), icon=":material/info:")
    else:
        _write(source, spectra, suggestion, written)
    left, right = st.columns([0.55, 0.45])
    with left:
        told = "Rank of each matrix now, and the rank that would stay"
        chart("adapters_change", told, "rank_change_map", spectra, suggestion.ranks, dark=dark())
        told = "Error of ΔW against the number of parameters, one budget over all matrices"
        chart("adapters_curve", told, "size_curve", spectra, {"chosen": suggestion})
        with st.expander("Error of each matrix"):
            digits = {key: st.column_config.NumberColumn(key, format="%.4g") for key in ("frobenius", "spectral")}
            digits["relative"] = st.column_config.NumberColumn("relative", format="percent")
            rows = [vars(error) for error in errors]
            st.dataframe(rows, hide_index=True, key="adapters_errors", column_config=digits)
    with right:
        st.markdown("## Every order at this target")
        shown = {key: st.column_config.NumberColumn(key, format="localized") for key in ("rank", "parameters")}
        shown |= {key: st.column_config.NumberColumn(key, format="%.2f%%") for key in ("energy", "error")}
        rows = _all_orders(spectra, suggestion, written)
        st.dataframe(rows, hide_index=True, key="adapters_orders", column_config=shown)
        st.markdown("## To train anew at these ranks")
        st.code(config_snippet(spectra.adapter, suggestion.ranks), language="python", height=220, wrap_lines=True)


def _offer_half(source: Source, spectra: AdapterSpectra, plan: Plan, written: Written, error: float) -> None:
    """Offer the same ranks in 16 bits where that costs less than the directions that go."""
    if written.dtype is not None:
        return
    kept: tuple[Adapter, Half | None] | None = st.session_state.get("adapters_half")
    if kept is None or kept[0] is not source.spectra.adapter:
        kept = (source.spectra.adapter, best_half(source.spectra.adapter))
        st.session_state["adapters_half"] = kept
    half = kept[1]
    if half is None:
        return
    in_half = size_at(spectra.adapter, now_ranks(spectra), half.dtype, written.form)
    told = half_type(size_now(spectra.adapter), in_half, plan_size(plan), error, half)
    if told:
        st.info(plain(told), icon=":material/compare_arrows:")
        label = f"Same ranks in {half.dtype}"
        act(label, "adapters_same_ranks", ":material/compress:", _set_half, source, spectra.adapter, half.dtype)


def _set_half(source: Source, adapter: Adapter, dtype: str) -> None:
    st.session_state[_dtype_key(source)] = dtype
    _set_target(adapter, "rank", sum(matrix.rank for matrix in adapter.matrices))


def _dtype_key(source: Source) -> str:
    return f"adapters_dtype_{source.path}"


def now_ranks(spectra: AdapterSpectra) -> dict[str, int]:
    """Return matrix → the rank that it has."""
    return {matrix.name: matrix.rank for matrix in spectra.adapter.matrices}


def _set_target(adapter: Adapter, target: str, value: float) -> None:
    st.session_state["adapters_target"] = target
    st.session_state["adapters_by"] = "least_error"
    st.session_state[_value_key(adapter, target, None)] = value


def _value_key(adapter: Adapter, target: str, written: Written | None) -> str:
    """Return the key of the slider: one for each range of values."""
    total = sum(matrix.rank for matrix in adapter.matrices)
    made = f"_{written.form}_{written.dtype}" if target == "bytes" and written is not None else ""
    return f"adapters_value_{target}_{total}_{adapter.parameters}{made}"


def _lossless(
    spectra: AdapterSpectra, written: Written, target: str = "energy", value: float = 1.0
) -> Suggestion | None:
    """Return the fewest directions that hold all of the energy, or meet a target; None where no direction is spare."""
    try:
        found = suggest_ranks(spectra, target, value, dtype=written.dtype, form=written.form)
    except AdapterError:
        return None
    return found if found.total_rank < sum(matrix.rank for matrix in spectra.adapter.matrices) else None


def _offer_lossless(spectra: AdapterSpectra, suggestion: Suggestion, written: Written) -> None:
    """Offer what goes without loss, and else what goes at an error that hardly counts."""
    whole = sum(now_ranks(spectra).values())
    offers = (
        ("energy", 1.0, "Without loss: {count} of {whole} directions have σ = 0.", "Set this target", 0.0),
        (
            "error",
            HARDLY,
            f"At an error of at most {HARDLY:.1%} {{count}} of {{whole}} directions go.",
            "Set this target",
            0.1,
        ),
    )
    for target, value, told, label, least in offers:
        found = _lossless(spectra, written, target, value)
        if found is None or whole - found.total_rank <= least * whole:
            continue
        if suggestion.ranks == found.ranks:
            return
        before = size_now(spectra.adapter).total
        size = size_at(spectra.adapter, found.ranks, written.dtype, written.form).total
        said = told.format(count=f"{whole - found.total_rank:,}", whole=f"{whole:,}")
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"{said} Without them the file takes {size / 1e3:,.1f} kB ({size / before:.0%}).")
            act(label, "adapters_padding", ":material/compress:", _set_target, spectra.adapter, target, value)
        return


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


def _ask_suggestion(spectra: AdapterSpectra, written: Written, columns: Sequence[Any]) -> Suggestion | None:
    adapter = spectra.adapter
    first, named = list(TARGETS).index("energy"), TARGET_NAMES.get
    target = select(
        "Target",
        [*TARGETS],
        "adapters_target",
        columns[0],
        index=first,
        format_func=named,
        on_change=_carry_over,
        args=(adapter, written),
    )
    if target in ("energy", "error"):
        label, shown = "keep at least" if target == "energy" else "at most", "%.3f"
        # Where directions hold nothing, leaving them out is what one comes for.
        start = 0.99 if _lossless(spectra, written) is None else 1.0
        numbers: tuple[Any, ...] = (0.01, 1.0, start, 0.001) if target == "energy" else (0.0, 0.99, 0.1, 0.001)
    else:
        now = now_ranks(spectra)
        whole = _size(spectra, target, now, written)
        spare = _lossless(spectra, written)
        # Half of an adapter that is mostly padding would be padding still.
        start = min(whole // 2, whole if spare is None else _size(spectra, target, spare.ranks, written))
        label, shown = f"at most, of {whole:,}", None
        numbers = (0, whole, max(len(now), start) if target == "rank" else start, 1)
    key = _value_key(adapter, target, written)
    value = columns[1].slider(label, *numbers, format=shown, key=key, help=TARGETS[target], persist_state="session")
    if target == "bytes":
        st.session_state[BUDGET] = (_chosen_of(adapter), value)
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
        found = suggest_ranks(spectra, target, value, by, dtype=written.dtype, form=written.form)
        sizes = {key: _size(spectra, key, found.ranks, written) for key in ("rank", "parameters", "bytes")}
        # Rounded to the side on which the ranks stay within reach.
        own = {
            "energy": max(0.01, np.floor(found.energy_kept * 1000) / 1000),
            "error": min(0.99, np.ceil(found.error * 1000) / 1000),
        }
        kept = st.session_state.get(CHOSEN)
        if value != numbers[2] or (kept and kept[0] == _chosen_of(adapter)):
            st.session_state[CHOSEN] = (_chosen_of(adapter), sizes | own)
        return found
    except AdapterError as error:
        st.error(plain(str(error)), icon=":material/error:")
        return None


def _keep_bytes(spectra: AdapterSpectra, written: Written) -> None:
    """Let a budget of bytes stay when the type or the form of what is written changes, as far as they are needed."""
    if st.session_state.get("adapters_target") != "bytes":
        return
    key, whole = _value_key(spectra.adapter, "bytes", written), _size(spectra, "bytes", now_ranks(spectra), written)
    kept: tuple[Any, float] | None = st.session_state.get(BUDGET)
    if kept is not None and kept[0] == _chosen_of(spectra.adapter) and key not in st.session_state:
        st.session_state[key] = int(min(whole, kept[1]))


def _carry_over(adapter: Adapter, written: Written) -> None:
    """Let another target begin at what was chosen by the one before."""
    target, kept = st.session_state["adapters_target"], st.session_state.get(CHOSEN)
    if kept and kept[0] == _chosen_of(adapter):
        st.session_state[_value_key(adapter, target, written)] = kept[1][target]


def _chosen_of(adapter: Adapter) -> tuple[str, int]:
    return adapter.name, adapter.parameters


def _size(spectra: AdapterSpectra, target: str, ranks: Mapping[str, int], written: Written) -> int:
    if target == "bytes":
        return size_at(spectra.adapter, ranks, written.dtype, written.form).total
    if target == "rank":
        return sum(ranks.values())
    return sum(ranks[matrix.name] * matrix.cost for matrix in spectra.adapter.matrices)


def _all_orders(spectra: AdapterSpectra, suggestion: Suggestion, written: Written) -> list[dict[str, Any]]:
    rows = []
    for by in ORDERS:
        found = suggest_ranks(spectra, suggestion.target, suggestion.value, by, dtype=written.dtype, form=written.form)
        error = total_error(truncation_errors(spectra, found.ranks), spectra)
        rows.append(
            {
                "order": by.replace("_", " "),
                "rank": found.total_rank,
                "parameters": found.parameters,
                "energy": 100 * found.energy_kept,
                "error": 100 * error["relative"],
            }
        )
    return rows


def _write(source: Source, spectra: AdapterSpectra, suggestion: Suggestion, written: Written) -> None:
    form, dtype = written
    columns = st.columns([0.6, 0.4], vertical_alignment="bottom")
    plan = planned(spectra.adapter, suggestion.ranks, dtype, form)
    name = smaller_name(source.label, suggestion.ranks, plan_size(plan).total, dtype)
    folder = columns[0].text_input(
        "Write the smaller adapter to",
        _shown(runs_root() / "adapters" / name),
        key=f"adapters_out_{name}",
        help=f"A new folder, on the machine that runs the Lab. It will hold {FORMS[form]}.",
    )
    with columns[1].container(horizontal=True):
        here = st.button("Write", key="adapters_write", type="primary", icon=":material/save:")
        away = st.button("Make a zip", key="adapters_zip", icon=":material/folder_zip:")
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
                errors, content = _zipped(spectra, suggestion, written, count)
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
        st.warning(plain(capital(warning)), icon=":material/warning:")


def _shown(path: Path) -> str:
    """Return a path as one types it in the server's folder."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _zipped(
    spectra: AdapterSpectra, suggestion: Suggestion, written: Written, count: Any
) -> tuple[list[TruncationError], bytes]:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / "adapter"
        errors = compress_adapter(spectra, suggestion.ranks, folder, count, written.dtype, written.form)
        return errors, zipped(folder)
