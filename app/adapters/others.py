"""Adapters that can be held beside the open one: its neighbours in a folder, examples, runs, recent ones."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from adapters.examples import bundled_adapters, own_adapters, recent_adapters
from adapters.source import Source, forget_upload, siblings
from analysis.adapters import AdapterError
from analysis.adapters.places import several_in
from runs.store import named
from widgets import select

NONE = "none"


def others_of(source: Source) -> dict[str, Path]:
    """Return name → path of every adapter that is there but the open one; a folder of several is none."""
    found = dict(siblings(source))
    groups = (("example", bundled_adapters()), ("run", own_adapters()), ("recent", recent_adapters()))
    for what, adapters in groups:
        for name, typed in adapters.items():
            try:
                path = named(typed, AdapterError)
                there = {source.path.resolve(), *(other.resolve() for other in found.values())}
                if path.exists() and path.resolve() not in there and not several_in(path):
                    found.setdefault(f"{name} ({what})", path)
            except (OSError, ValueError):
                continue
    return found


def offer_other(source: Source, key: str) -> None:
    """Draw a list of the adapters that are there; a choice becomes the path of the widgets that begin with ``key``."""
    known = others_of(source)
    if known:
        chosen = f"{key}_known"
        if st.session_state.get(chosen) not in (None, NONE, *known):
            st.session_state[chosen] = NONE
        select("One that is there", [NONE, *known], chosen, on_change=_open, args=(key, known))


def _open(key: str, known: dict[str, Path]) -> None:
    name = st.session_state[f"{key}_known"]
    st.session_state[f"{key}_path"] = "" if name == NONE else str(known[name])
    forget_upload(key)
