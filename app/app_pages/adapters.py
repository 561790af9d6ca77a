"""Adapters: look inside any adapter, shrink it, hold it against another."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from adapters.checkpoints import offer_checkpoints
from adapters.examples import offer_adapters, remember
from adapters.findings import say_findings, usual_section
from adapters.report import offer_report
from adapters.several import several_section
from adapters.shrink import shrink_section
from adapters.source import Source, ask_source
from adapters.views import compare_section, map_section, moves_section, table_section
from analysis.adapters import describe_adapter
from analysis.adapters.words import describe_file
from runs.store import plain
from widgets import switch

INTRODUCTION = """
A LoRA adapter adds **ΔW = s · B A** to each weight matrix. Its singular values say how many of its directions do
anything. Opened here are adapters of PEFT (every LoRA, AdaLoRA, LoHa, LoKr), of diffusers, kohya and ComfyUI, of MLX
and llama.cpp; the base model is not needed, and nothing leaves this machine.
"""

SECTIONS = {
    "What is inside": map_section,
    "Table": table_section,
    "Shrink it": shrink_section,
    "Against another": compare_section,
    "Several, and merge": several_section,
    "What is usual": usual_section,
    "Where rank would move": moves_section,
}


def page() -> None:
    """Draws the page."""
    if "adapters_path" not in st.session_state and "adapter" in st.query_params:
        st.session_state["adapters_path"] = st.query_params["adapter"]
        st.session_state["adapters_linked"] = st.query_params.get("choice")
    source = ask_source("adapters", "Adapter")
    if source is None:
        _address({})
        st.markdown(INTRODUCTION)
        offer_adapters()
        st.caption(
            "`adapter.export_peft(folder)` writes one from a run of your own; `model.save_pretrained(folder)` of PEFT "
            "does so for any other. Pickled adapters (.bin) are not opened: the error says how to convert them."
        )
        return
    typed = st.session_state.get("adapters_path", "").strip()
    if typed and not source.uploaded:
        _address({"adapter": typed, "choice": source.choice})
        # A folder of several is opened as that.
        remember(Path(typed).name if source.choice else source.label, typed)
        offer_checkpoints(typed)
    if source.uploaded:
        _address({})
    say_findings(source)
    _say(source)
    with st.container(horizontal=True):
        with st.popover("Open another", icon=":material/folder_open:"):
            offer_adapters(small=True)
        offer_report(source)
    SECTIONS[switch("View", list(SECTIONS), "adapters_view", label_visibility="collapsed")](source)


def _address(parts: dict[str, str]) -> None:
    """Let the address of the page be a link to what is shown."""
    for key in ("adapter", "choice"):
        if parts.get(key):
            st.query_params[key] = parts[key]
        else:
            st.query_params.pop(key, None)


def _say(source: Source) -> None:
    first, *rest = describe_adapter(source.spectra)
    st.markdown(
        f"**{plain(source.label)}.** {plain(first)}  \n{plain(describe_file(source.spectra.adapter))}  \n"
        f"{plain(' '.join(rest))}"
    )
    # What NaN does is told among the findings.
    notices = source.spectra.adapter.notices
    for notice in notices[:3]:
        st.info(plain(notice), icon=":material/info:")
    if len(notices) > 3:
        with st.expander(f"{len(notices) - 3} more notes"):
            for notice in notices[3:]:
                st.markdown(plain(notice))
