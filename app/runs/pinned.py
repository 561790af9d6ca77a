"""A second run under Explore's clock: which one the user or a link asks for."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from runs.store import RunEntry, resolve_run

CHOSEN = "explore_with"
_UNKNOWN = "explore_with_unknown"
PARAMETER = "with"


def offered(choices: Mapping[str, RunEntry], run: str) -> dict[str, RunEntry]:
    """Which of these runs, by key, can be pinned beside the one with the key `run`; what is pinned is among them."""
    state = st.session_state
    found = {key: entry for key, entry in choices.items() if key != run}
    asked = state.get(CHOSEN)
    if asked and asked not in found:
        # A folder that is no run is offered too: its fault is told where it is opened.
        named = None if asked == run else resolve_run(asked, list(choices.values()))
        if named:
            found[asked] = named
        else:
            state[CHOSEN] = None
    return found


def follow(address: Mapping[str, str], entries: list[RunEntry]) -> None:
    """Takes over what a link asks for: one that names a run names also what is pinned, or that nothing is."""
    state = st.session_state
    asked = address.get(PARAMETER)
    found = resolve_run(asked, entries) if asked and asked != address.get("run") else None
    state[CHOSEN] = found.key if found else None
    state[_UNKNOWN] = asked if asked and not found else ""


def parameters() -> dict[str, str]:
    """Query parameters of the present choice."""
    state = st.session_state
    state[_UNKNOWN] = ""
    chosen = state.get(CHOSEN)
    return {PARAMETER: chosen} if chosen else {}


def notes() -> list[str]:
    """What of a link could not be followed, in words."""
    unknown = st.session_state.get(_UNKNOWN)
    if not unknown:
        return []
    return [f"The link compares with a run that is not here or is this run itself ({unknown[:60]!r}); none is pinned."]
