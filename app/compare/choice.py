"""What is compared: a study, or runs that somebody picks; kept in the session and told by the address."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import streamlit as st

from compare import address
from compare.studies import StudyEntry, find_study, study_entries
from jobs.owner import Owner
from jobs.registry import REGISTRY
from jobs.study_job import StudyJob
from links import COMPARED, PICKED, PICKED_RUNS
from runs.rows import RunRow, read_rows, search
from runs.store import plain, run_entries
from widgets import act, select

WORDS = "compare_words"
SEEN = "compare_seen_study"
NOTHING = ""
"""Key of no choice."""
MOST_RUNS = 300


class Choice(NamedTuple):
    """What is compared: a study, or runs; neither where nothing is chosen yet."""

    study: StudyEntry | None
    runs: tuple[RunRow, ...] = ()


def ask_choice(me: Owner) -> Choice:
    """Draw the choice and return it; the address follows."""
    entries = study_entries()
    _read_address(entries)
    # The browser knows an option by its label, so nothing that changes while somebody looks may be part of one.
    names = {entry.key: _name(entry) for entry in entries}
    names = {NOTHING: "Choose a study, or runs", **names, PICKED_RUNS: "Runs that I pick"}
    if st.session_state.get(COMPARED) not in names:
        st.session_state[COMPARED] = NOTHING
    chosen = select("Compare", list(names), COMPARED, format_func=names.__getitem__, label_visibility="collapsed")
    if chosen == PICKED_RUNS:
        runs = _ask_runs(me)
        address.tell(study=None, runs=",".join(row.key for row in runs))
        return Choice(None, runs)
    entry = find_study(chosen, entries) if chosen else None
    address.tell(study=entry.key if entry else None, runs=None)
    return Choice(entry)


def choose(key: str) -> None:
    """Choose a study, or picked runs, before the page runs again."""
    st.session_state[COMPARED] = key


def sample_study() -> StudyEntry | None:
    """Return the study that comes with the Lab."""
    return next((entry for entry in study_entries() if not entry.own), None)


def _name(entry: StudyEntry) -> str:
    return entry.folder.name if entry.own else f"{entry.folder.name} (sample)"


def _read_address(entries: Sequence[StudyEntry]) -> None:
    """Let the session begin with what the address asks for."""
    if COMPARED in st.session_state:
        return
    study, runs = address.asked(address.STUDY), address.asked(address.RUNS)
    if runs:
        st.session_state[COMPARED] = PICKED_RUNS
        st.session_state[PICKED] = runs.split(",")
    elif study:
        found = find_study(study, list(entries))
        st.session_state[COMPARED] = found.key if found else NOTHING
        if found is None:
            st.warning(f"The link's study {plain(study[:80])} is not here.", icon=":material/link_off:")
    else:
        st.session_state[COMPARED] = NOTHING


def follow_own(me: Owner) -> bool:
    """Choose a study of the viewer's that has just been started; return whether one has.

    A session that begins with a link shows what the link asks for.
    """
    state, live = st.session_state, REGISTRY.busy_with(me)
    name = live.folder.name if live is not None and isinstance(live.job, StudyJob) else ""
    linked = SEEN not in state and any(map(address.asked, (address.STUDY, address.RUNS, address.PART)))
    new = bool(name) and state.get(SEEN) != name and not linked
    state[SEEN] = name or state.get(SEEN, "")
    if new:
        choose(f"runs/{name}")
    return new


def _ask_runs(me: Owner) -> tuple[RunRow, ...]:
    rows = {row.key: row for row in read_rows(run_entries(), me)}
    st.session_state[PICKED] = [key for key in st.session_state.get(PICKED, ()) if key in rows][:MOST_RUNS]
    left, right = st.columns([0.7, 0.3], vertical_alignment="bottom")
    picked = left.multiselect(
        "Runs",
        list(rows),
        key=PICKED,
        format_func=lambda key: rows[key].name,
        placeholder="Pick runs: those that differ in their seed only are one group",
        persist_state="session",
    )
    with right, st.popover("Pick by words", icon=":material/filter_list:"):
        told = "name, method, task, preset, state, tag: all words have to be there"
        st.text_input("Words", key=WORDS, placeholder=told, persist_state="session")
        found = search(list(rows.values()), st.session_state.get(WORDS, ""))
        act(f"Pick these {len(found)}", "compare_pick_all", ":material/done_all:", _pick, [row.key for row in found])
        act("Pick none", "compare_pick_none", ":material/close:", _pick, [])
    return tuple(rows[key] for key in picked)


def _pick(keys: Sequence[str]) -> None:
    st.session_state[PICKED] = list(keys)[:MOST_RUNS]
