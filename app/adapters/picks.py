"""Which adapters are compared with the open one, and merged: picked from those that are there, or typed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import streamlit as st

from adapters.others import others_of
from adapters.source import Source
from analysis.adapters import Adapter, AdapterError
from analysis.adapters.bases import of_one_base, told_left
from analysis.adapters.own import open_any
from runs.store import named, plain
from widgets import act

MOST = 12
"""Adapters that are compared at once."""
PICKED = "adapters_many_known"
LEFT = "adapters_many_left"


class LeftOut(NamedTuple):
    """What picking all of one base model left out.

    Attributes:
        beside: path of the adapter that is open.
        picked: what was picked.
        left: name → why.
        room: how many were wanted, too, but are more than are compared at once.
    """

    beside: Path
    picked: list[str]
    left: dict[str, str]
    room: int


def picked_adapters(source: Source) -> list[Adapter]:
    """Draw the widgets; return the open adapter and those that were chosen, as far as they open."""
    known = others_of(source)
    columns = st.columns(2)
    picked = columns[0].multiselect(
        "Adapters that are there", list(known), key=PICKED, max_selections=MOST - 1, select_all=False, wrap=True
    )
    typed = columns[1].text_area("Others, a path a line", key="adapters_many_paths", height=80)
    _offer_all(source, known, picked)
    # An upload, and an adapter of the Lab, lies in a folder whose name says nothing.
    found = [replace(source.spectra.adapter, name=source.label)]
    chosen: list[str | Path] = [known[name] for name in picked if name in known]
    chosen += [line.strip() for line in typed.splitlines() if line.strip()]
    if len(chosen) >= MOST:
        st.caption(f"{MOST} adapters are compared at once: the open one and the first {MOST - 1} of {len(chosen)}.")
    for path in chosen[: MOST - 1]:
        try:
            found.append(open_any(path if isinstance(path, Path) else named(path, AdapterError)))
        except (OSError, ValueError) as error:
            st.error(f"**{plain(str(path))}** cannot be opened. {plain(str(error))}", icon=":material/error:")
    return found


def _offer_all(source: Source, known: dict[str, Path], picked: list[str]) -> None:
    """Offer all of one base model; say which were left out, and offer them all the same."""
    if len(known) > 1:
        label = f"All for {source.spectra.adapter.base_model or 'one base model'}"
        act(plain(label), "adapters_many_all", ":material/select_all:", _pick_all, source, known)
    out: LeftOut | None = st.session_state.get(LEFT)
    if out is None or out.beside != source.path or out.picked != picked:
        return
    if out.room:
        st.caption(f"{out.room} more have no room: {MOST} adapters are compared at once.")
    if out.left:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(plain(f"Left out: {told_left(out.left)}."))
            if len(picked) < MOST - 1:
                wanted = [*picked, *out.left]
                act("Take them all the same", "adapters_many_rest", ":material/add:", _pick, source.path, wanted, {})


def _pick_all(source: Source, known: dict[str, Path]) -> None:
    opened: dict[str, Adapter] = {}
    for name, path in known.items():
        try:
            opened[name] = open_any(path)
        except (OSError, ValueError):
            # Picked by hand it says why it cannot be opened.
            continue
    found = of_one_base(source.spectra.adapter, opened)
    _pick(source.path, found.taken, found.left)


def _pick(beside: Path, wanted: list[str], left: dict[str, str]) -> None:
    picked = wanted[: MOST - 1]
    st.session_state[PICKED] = picked
    st.session_state[LEFT] = LeftOut(beside, picked, left, len(wanted) - len(picked))
