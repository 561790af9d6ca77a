"""What the leader does on the page, and what is said when it cannot be done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate

import streamlit as st

from classroom.room import Given, Room
from classroom.state import ClassState
from flexlora.errors import FlexLoRAError
from jobs.visitor import visitor

FAULT = "class_fault"


def taken(
    room: Room, what: Callable[Concatenate[ClassState, Given], ClassState], *given: Given.args, **more: Given.kwargs
) -> bool:
    """Let the leader change the class; return whether that was taken, else the page says why not."""
    try:
        if not room.leads(visitor().key):
            raise FlexLoRAError("Only the leader of the class may do that.")
        room.change(what, *given, **more)
    except FlexLoRAError as error:
        st.session_state[FAULT] = str(error)
        return False
    return True


def act_on(
    room: Room, what: Callable[Concatenate[ClassState, Given], ClassState], *given: Given.args, **more: Given.kwargs
) -> None:
    """Do so as what a button calls."""
    taken(room, what, *given, **more)
