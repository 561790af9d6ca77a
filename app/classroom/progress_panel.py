"""How far the class is in the lessons, for its leader."""

from __future__ import annotations

import streamlit as st

from classroom.progress import standings
from classroom.room import Room
from runs.store import plain


def progress_panel(room: Room) -> None:
    """Draw a table a lesson: who came how far, and how many were right."""
    state = room.state
    members = {key for key, member in state.members.items() if not member.leads}
    found = standings(own for key, own in state.progress.items() if key in members)
    if not found:
        st.caption("Nobody has begun a lesson yet.")
        return
    for lesson in found:
        st.markdown(f"**{plain(lesson.lesson)}** · begun by {lesson.begun} of {len(members)}")
        st.table(
            {
                "step": [plain(step) for step in lesson.steps],
                "did it": [*lesson.steps.values()],
                "right": [
                    f"{lesson.right[step]} of {asked}" if (asked := lesson.asked[step]) else "·"
                    for step in lesson.steps
                ],
            },
            border="horizontal",
            hide_index=True,
            alt=f"Progress in {lesson.lesson}",
        )
