"""The editor of a study: a form, or a file that begins as a ready example; what it would make, and the start."""

from __future__ import annotations

import os

import streamlit as st

from compare.draft import Draft, check_draft, describe_draft, draft_warnings
from compare.examples import EXAMPLES
from compare.form import study_form
from compare.guide import guide_link
from compare.line import SIDE_BY_SIDE, default_side_by_side
from compare.pace import known_paces
from jobs.live import Request
from jobs.owner import Owner
from jobs.question import ask_for
from jobs.registry import REGISTRY
from runs.store import plain
from widgets import act, download, switch

SOURCE, FILE = "compare_source", "File or ready example"
TEXT = "compare_study_text"
EXAMPLE = "compare_example"
ANYWAY = "compare_study_anyway"
TEXT_HEIGHT = 330


def study_editor(me: Owner) -> None:
    """Draw the editor; a study that is started is a job of the line, and its page fills as its runs end.

    What is started is what is shown: the form, or the file.
    """
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown("A study makes every run of a comparison and holds their budgets equal.", width="content")
        guide_link()
    source = switch("Write it in", list(SOURCES), SOURCE, label_visibility="collapsed")
    text = SOURCES[source]()
    draft = check_draft(text)
    if isinstance(draft, str):
        st.error(plain(draft), icon=":material/error:")
        return
    cores = os.cpu_count() or 1
    left, right = st.columns([0.78, 0.22], vertical_alignment="bottom")
    with right:
        told = "Each takes a core. One core is left to these pages at first"
        side_by_side = int(
            st.number_input("Runs side by side", 1, cores, default_side_by_side(), key=SIDE_BY_SIDE, help=told)
        )
    left.markdown(describe_draft(draft, known_paces(), side_by_side))
    for warning in draft_warnings(draft):
        st.warning(plain(warning), icon=":material/warning:")
    _start(text, draft, side_by_side, me)
    with st.expander(f"The {len(draft.plan.variants)} variants", icon=":material/table_rows:"):
        rows = [
            {"task": one.task.name, "within": one.cell, "variant": one.label, "method": one.entry.method}
            for one in draft.plan.variants
        ]
        st.dataframe(rows, hide_index=True, placeholder="", alt="Variants of the study: task, label and method")


def _start(text: str, draft: Draft, side_by_side: int, me: Owner) -> None:
    anyway = False
    if draft.refused:
        st.warning(plain(draft.refused), icon=":material/balance:")
        anyway = st.toggle("Make it all the same; every table and figure will say so", key=ANYWAY)
    with st.container(horizontal=True, vertical_alignment="center"):
        ready = anyway or not draft.refused
        if st.button(
            "Start the study", key="compare_start", type="primary", icon=":material/science:", disabled=not ready
        ):
            job = draft.job.planned(side_by_side, unequal=anyway)
            ask_for(REGISTRY, me, Request(job))
        download("Save the file", text, "study.yaml", "compare_save_file")
        st.caption(
            "It waits its turn like any run; the command line makes the same: `python -m flexlora.study study.yaml`"
        )


def _form() -> str:
    text = study_form()
    with st.expander("As a file", icon=":material/description:", key="compare_form_file"):
        st.code(text, "yaml")
        act("Write on in the file", "compare_form_edit", ":material/edit_note:", _edit, text)
    return text


def _file() -> str:
    st.selectbox("Begin with", list(EXAMPLES), key=EXAMPLE, on_change=_take_example, persist_state="session")
    if TEXT not in st.session_state:
        _take_example()
    return st.text_area("Study file (YAML)", key=TEXT, height=TEXT_HEIGHT, persist_state="session")


def _edit(text: str) -> None:
    st.session_state[TEXT], st.session_state[SOURCE] = text, FILE


def _take_example() -> None:
    st.session_state[TEXT] = EXAMPLES[st.session_state.get(EXAMPLE) or next(iter(EXAMPLES))]


SOURCES = {"Form": _form, FILE: _file}
