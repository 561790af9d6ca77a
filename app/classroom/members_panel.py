"""Who is in the class, for its leader."""

from __future__ import annotations

import streamlit as st

from classroom.acting import taken
from classroom.room import Room
from classroom.state import removed
from jobs.registry import Registry
from jobs.visitor import visitor
from runs.store import plain


def members_panel(room: Room, registry: Registry) -> None:
    """Draw the names, and the way out for one that should not be there."""
    members = {key: member for key, member in room.state.members.items() if not member.leads}
    if not members:
        st.caption("Nobody has joined yet.")
        return
    st.markdown(", ".join(plain(member.name) for member in members.values()))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        gone = st.selectbox("Take somebody out", [*members], format_func=lambda key: members[key].name, key="class_out")
        # One a member: it closes with the one it was about, and no second click reaches the next.
        with st.popover("Take out", icon=":material/person_remove:", key=f"class_take_out_{gone}"):
            name = plain(members[gone].name)
            st.markdown(
                f"Take **{name}** out? Name, votes and progress go, runs stay. Whoever has the code can join again."
            )
            if told := _told_jobs(registry, gone):
                st.markdown(told)
            st.button(
                f"Take {name} out", key="class_take_out_now", type="primary",
                on_click=_take_out, args=(room, registry, gone),
            )  # fmt: skip


def _told_jobs(registry: Registry, key: str) -> str:
    """Return what becomes of a member's jobs, as Markdown; empty for who has none."""
    line, told = registry.line(), []
    if line.running is not None and line.running.owner.key == key:
        told.append(f"**{plain(line.running.folder.name)}** is stopped; it keeps its log and can be resumed.")
    told += [f"**{plain(live.folder.name)}** leaves the line." for live in line.waiting if live.owner.key == key]
    return " ".join(told)


def _take_out(room: Room, registry: Registry, key: str) -> None:
    # Out first: whoever is outside starts nothing more.
    if taken(room, removed, key):
        registry.stop_all(visitor(), key)
