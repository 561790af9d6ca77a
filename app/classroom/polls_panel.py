"""Polls: the leader asks, closes and shows; everybody sees what was shown."""

from __future__ import annotations

from functools import partial

import streamlit as st

from classroom.acting import act_on, taken
from classroom.poll import Poll
from classroom.room import Room
from classroom.state import asked, turned
from runs.store import plain

QUESTION, ANSWERS = "class_question", "class_choices"


def ask_panel(room: Room) -> None:
    """Draw the form of a new poll."""
    st.text_input("Question", key=QUESTION, max_chars=200)
    st.text_area("Choices, one a line", key=ANSWERS, height=110, max_chars=700)
    st.button(
        "Ask the class", key="class_ask", type="primary", icon=":material/how_to_vote:", on_click=_ask, args=(room,)
    )


def _ask(room: Room) -> None:
    state = st.session_state
    lines = [line for line in state[ANSWERS].splitlines() if line.strip()]
    if taken(room, asked, state[QUESTION], lines):
        state[QUESTION] = state[ANSWERS] = ""


def polls_panel(room: Room, *, leads: bool) -> None:
    """Draw the polls, the latest first: for the leader all counts and buttons, for others what is shown to them."""
    shown = [poll for poll in reversed(room.state.polls) if leads or poll.revealed]
    if not shown:
        st.caption("No poll yet." if leads else "No poll has been shown yet. One that is open stands in the bar above.")
    for poll in shown:
        with st.container(border=True):
            _draw(poll)
            if leads:
                _buttons(room, poll)


def _draw(poll: Poll) -> None:
    total = sum(poll.counts)
    st.markdown(f"**{plain(poll.question)}**")
    for choice, count in zip(poll.choices, poll.counts, strict=True):
        st.progress(count / total if total else 0.0, f"{plain(choice)} · {count}")
    st.caption(f"{total} {'vote' if total == 1 else 'votes'} · {'open' if poll.open else 'closed'}")


def _buttons(room: Room, poll: Poll) -> None:
    turn = partial(act_on, room, turned, poll.number)
    with st.container(horizontal=True):
        st.button(
            "Close" if poll.open else "Open again", key=f"class_open_{poll.number}", on_click=turn,
            kwargs={"open": not poll.open},
        )  # fmt: skip
        st.button(
            "Hide from everybody" if poll.revealed else "Show everybody", key=f"class_show_{poll.number}",
            on_click=turn, kwargs={"revealed": not poll.revealed},
        )  # fmt: skip
