"""The editor of a study: a ready example or the form, the file as text, what it would make, and the start."""

from __future__ import annotations

import os

import streamlit as st

from compare.draft import Draft, check_draft, describe_draft
from compare.examples import EXAMPLES
from compare.form import study_form
from compare.line import SIDE_BY_SIDE, default_side_by_side
from compare.pace import known_paces
from jobs.live import Request
from jobs.owner import Owner
from jobs.question import ask_for
from jobs.registry import REGISTRY
from runs.store import plain
from widgets import download

TEXT = "compare_study_text"
EXAMPLE = "compare_example"
ANYWAY = "compare_study_anyway"
TEXT_HEIGHT = 330


def study_editor(me: Owner) -> None:
    """Draw the editor; a study that is started is a job of the line, and its page fills as its runs end."""
    st.markdown(
        "A study makes every run of a comparison and holds their budgets equal. `docs/studies.md` has each key."
    )
    st.selectbox("Begin with", list(EXAMPLES), key=EXAMPLE, on_change=_take_example, persist_state="session")
    if TEXT not in st.session_state:
        _take_example()
    with st.expander("Or fill in a form", icon=":material/list_alt:", key="compare_form_box"):
        study_form(_take)
    text = st.text_area("Study file (YAML)", key=TEXT, height=TEXT_HEIGHT, persist_state="session")
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


def _take(text: str) -> None:
    st.session_state[TEXT] = text


def _take_example() -> None:
    _take(EXAMPLES[st.session_state.get(EXAMPLE) or next(iter(EXAMPLES))])
