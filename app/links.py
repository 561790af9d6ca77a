"""Links from page to page, by name: no page imports another one, nor the list of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from analysis.runs import Run

COMPARED, COMPARE_PART, PICKED = "compare_chosen", "compare_part", "compare_runs"
"""What Compare shows, in the session: a study or ``PICKED_RUNS``, which part, and the runs that are picked."""
PICKED_RUNS = "runs"

EXPLORED = "explore_run"
"""The run that Explore shows, in the session."""

_PAGES: dict[str, StreamlitPage] = {}


def register(pages: Mapping[str, StreamlitPage]) -> None:
    """Names the pages that links lead to."""
    _PAGES.update(pages)


def go(name: str, **wishes: object) -> None:
    """Leaves for another page by its registered name; ``wishes`` is session state that tells it what to show."""
    for key, value in wishes.items():
        st.session_state[key] = value
    st.switch_page(_PAGES[name])


def has(name: str) -> bool:
    """Return whether a page of that name is registered."""
    return name in _PAGES


def follow(address: str, query: Mapping[str, str]) -> None:
    """Leaves for a page by its name in the address, empty for the first one; for none that there is, stays."""
    for page in _PAGES.values():
        if page.url_path == address:
            st.switch_page(page, query_params=dict(query))


def explore(run: str) -> None:
    """Leaves for a run in Explore, at an address that a reload finds again."""
    st.session_state[EXPLORED] = run
    st.switch_page(_PAGES["Explore"], query_params={"run": run})


def compare(study: str) -> None:
    """Leaves for a study in Compare, at an address that a reload finds again."""
    st.session_state[COMPARED] = study
    st.session_state.pop(COMPARE_PART, None)
    st.switch_page(_PAGES["Compare"], query_params={"study": study})


def compare_runs(runs: Sequence[str]) -> None:
    """Leaves for runs beside each other in Compare."""
    st.session_state[COMPARED], st.session_state[PICKED] = PICKED_RUNS, list(runs)
    st.session_state.pop(COMPARE_PART, None)
    st.switch_page(_PAGES["Compare"], query_params={"runs": ",".join(runs)})


def what_if_button(run: str, about: Run) -> None:
    """Offers to ask what another rule had decided, of a run that decided something."""
    if about.events and st.button("What if another rule had decided?", key="to_what_if", icon=":material/alt_route:"):
        go("What-if", what_if_run=run)
