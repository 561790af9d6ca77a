"""Class: what its leader leads, and what everybody sees of it."""

from __future__ import annotations

import streamlit as st

from classroom.acting import FAULT
from classroom.board_panel import TITLE, board_panel, choose_board
from classroom.invitation import invitation
from classroom.jobs_panel import caps_panel, jobs_panel, steering
from classroom.members_panel import members_panel
from classroom.polls_panel import ask_panel, polls_panel
from classroom.progress_panel import progress_panel
from classroom.room import Room, class_of_server
from jobs.registry import REGISTRY
from jobs.visitor import visitor
from runs.store import plain

TICK_S = 2.0
BESIDE = "beside_class"
"""Key of what holds two columns, which a narrow window shows below each other: see STYLE in main.py."""
STYLE = """<style>
.lab-code { margin: 0;
  font: 700 clamp(1.6rem, 3vw, 3.2rem)/1.2 monospace; letter-spacing: 0.08em; white-space: nowrap; }
</style>"""


def page() -> None:
    """Draws the page."""
    room, me = class_of_server(), visitor()
    if room is None:
        return
    leads = room.leads(me.key)
    st.html(STYLE)
    for message in (st.session_state.pop(FAULT, None), room.notice if leads else ""):
        if message:
            st.warning(plain(message), icon=":material/info:")
    if leads:
        _leader(room)
        return
    with st.container(key=BESIDE):
        left, right = st.columns(2)
        with left:
            st.header(TITLE)
            st.fragment(board_panel, run_every=TICK_S)(room, me.key)
        with right:
            st.header("Polls")
            st.fragment(polls_panel, run_every=TICK_S)(room, leads=False)


def _leader(room: Room) -> None:
    me = visitor()
    with st.container(key=BESIDE):
        left, right = st.columns(2, gap="large")
        with left:
            invitation(room)
            st.header("Members")
            st.fragment(members_panel, run_every=TICK_S)(room, REGISTRY)
            st.header("What trains")
            st.fragment(jobs_panel, run_every=TICK_S)(REGISTRY, me)
            with st.expander(
                "Steer what trains", icon=":material/tune:", key="class_steer", on_change="rerun"
            ) as steer:
                if steer.open:
                    st.fragment(steering, run_every=TICK_S)(REGISTRY, me)
            with st.expander("How large members' jobs may be", icon=":material/straighten:"):
                caps_panel(room)
        with right:
            st.header("Polls")
            with st.expander("Ask a question", icon=":material/how_to_vote:", expanded=not room.state.polls):
                ask_panel(room)
            st.fragment(polls_panel, run_every=TICK_S)(room, leads=True)
            st.header("Lessons")
            st.fragment(progress_panel, run_every=TICK_S)(room)
            st.header(TITLE)
            with st.expander(
                "Choose what is compared", icon=":material/leaderboard:", expanded=room.state.board is None
            ):
                choose_board(room)
            st.fragment(board_panel, run_every=TICK_S)(room, me.key)
