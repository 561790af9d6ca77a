"""What the address of Compare says: a link shows the same."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

STUDY, RUNS, PART, VIEW, ANYWAY = "study", "runs", "part", "view", "unequal"


def asked(name: str) -> str:
    """Return what the address asks for under a name; empty where it asks for nothing."""
    return st.query_params.get(name, "")


def one_of(name: str, allowed: Sequence[str]) -> str:
    """Return what the address asks for if it is allowed, else the first that is."""
    return found if (found := asked(name)) in allowed else allowed[0]


def tell(**said: str | None) -> None:
    """Let the address say this; None or empty takes a name out."""
    for name, value in said.items():
        if value:
            st.query_params[name] = value
        else:
            st.query_params.pop(name, None)
