"""Compare: does it help, and can it be said? Studies and runs under equal budgets, and studies made from here."""

from __future__ import annotations

import streamlit as st

from compare import address
from compare.board import board_part
from compare.choice import ask_choice, choose, follow_own, sample_study
from compare.comparison import compared
from compare.editor import study_editor
from compare.two_settings import settings_part
from jobs.line import line_caption
from jobs.owner import Owner
from jobs.question import MESSAGE, question_panel
from jobs.registry import REGISTRY
from jobs.visitor import visitor
from links import COMPARE_PART
from runs.store import plain
from widgets import act, switch

INTRODUCTION = """
**Does moving rank help on my task, and can I say so?** A study runs several methods with the same seeds, data and
order at an equal budget. This page shows each difference with its interval, says which are told apart, and what size of
difference so many seeds could have found.
"""
COMPARE, NEW = "Compare", "New study"


def page() -> None:
    """Draws the page."""
    me = visitor()
    if message := st.session_state.pop(MESSAGE, None):
        st.warning(plain(message), icon=":material/info:")
    question_panel(REGISTRY, me)
    line_caption(REGISTRY, me)
    if COMPARE_PART not in st.session_state:
        st.session_state[COMPARE_PART] = address.one_of(address.PART, list(PARTS))
    if follow_own(me):
        _turn_to(COMPARE)
    part = switch("Part", list(PARTS), COMPARE_PART, label_visibility="collapsed", default=None)
    address.tell(part=None if part == COMPARE else part)
    PARTS[part](me)


def _compare(me: Owner) -> None:
    choice = ask_choice(me)
    if choice.study is None and not choice.runs:
        _nothing_chosen()
        return
    compared(choice, me)


def _nothing_chosen() -> None:
    st.markdown(INTRODUCTION)
    sample = sample_study()
    with st.container(horizontal=True):
        if sample is not None:
            act("Open the sample study", "compare_sample", ":material/science:", choose, sample.key, type="primary")
        act("Make a study of my own", "compare_new", ":material/add:", _turn_to, NEW)


def _turn_to(part: str) -> None:
    st.session_state[COMPARE_PART] = part


PARTS = {
    COMPARE: _compare,
    NEW: study_editor,
    "Two configurations": settings_part,
    "PEFT's leaderboard": board_part,
}
