"""Who is in the class, for its leader."""

from __future__ import annotations

import streamlit as st

from classroom.acting import act_on
from classroom.room import Room
from classroom.state import removed
from runs.store import plain


def members_panel(room: Room) -> None:
    """Draw the names, and the way out for one that should not be there."""
    members = {key: member for key, member in room.state.members.items() if not member.leads}
    if not members:
        st.caption("Nobody has joined yet.")
        return
    st.markdown(", ".join(plain(member.name) for member in members.values()))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        gone = st.selectbox("Take somebody out", [*members], format_func=lambda key: members[key].name, key="class_out")
        st.button(
            "Take out", key="class_take_out", on_click=act_on, args=(room, removed, gone),
            help="Name, votes and progress go. Runs stay. Whoever has the code can join again.",
        )  # fmt: skip
