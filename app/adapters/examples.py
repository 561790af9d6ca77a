"""Adapters that are there already: those of the bundled runs and of the visitor's own, one click each."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from analysis.adapters.own import is_own
from files import REPOSITORY
from jobs.owner import Owner
from jobs.visitor import visitor
from runs.rows import YOURS, whose
from runs.store import plain, run_entries, samples_root, typed_path
from widgets import act

BUNDLED_FOLDER = "adapters"
"""Folder of the examples, among the bundled runs."""

ADAPTER = "adapter"
"""Folder of a run in which its adapter lies."""

MOST_RECENT = 8
MOST_VISITORS = 500
MOST = 24
"""Own ones that are offered, the newest."""


def bundled_adapters() -> dict[str, str]:
    """Return name → path, as one types it, of the adapters beside the bundled runs."""
    found = sorted(path for path in samples_root().glob(f"{BUNDLED_FOLDER}/*") if is_own(path))
    return {path.name: _typed(path) for path in found}


def own_adapters() -> dict[str, str]:
    """Return name of a run of the visitor → path of its adapter, newest first."""
    me, own = visitor(), [entry for entry in run_entries() if entry.key.startswith("runs/")]
    kept = [entry for entry in own if is_own(entry.folder / ADAPTER) and whose(entry.key, entry.folder, me) == YOURS]
    return {entry.folder.name: f"{typed_path(entry)}/{ADAPTER}" for entry in kept[:MOST]}


def recent_adapters() -> dict[str, str]:
    """Return name → path of the adapters that the visitor opened by path, newest first, but those offered anyway."""
    offered = {*bundled_adapters().values(), *own_adapters().values()}
    found = _recent().get(visitor(), {})
    return {name: path for path, name in reversed(found.items()) if path not in offered}


@st.cache_resource
def _recent() -> dict[Owner, dict[str, str]]:
    """Return visitor → path → name, for as long as the server runs: it outlives a reload of the page."""
    return {}


def remember(name: str, path: str) -> None:
    """Keep a path that opened among the recent ones."""
    everyone, me = _recent(), visitor()
    found = everyone[me] = everyone.pop(me, {})
    while len(everyone) > MOST_VISITORS:
        del everyone[next(iter(everyone))]
    found.pop(path, None)
    found[path] = name
    while len(found) > MOST_RECENT:
        del found[next(iter(found))]


def offer_adapters(*, small: bool = False) -> None:
    """Draw a button for each; ``small`` headings suit a place that has none above them."""
    groups = (("Recent", recent_adapters()), ("Of your runs", own_adapters()), ("Examples", bundled_adapters()))
    for title, found in groups:
        if not found:
            continue
        st.markdown(f"**{title}**" if small else f"## {title}")
        with st.container(horizontal=True):
            for name, path in found.items():
                act(plain(name), f"adapters_open_{path}", ":material/grid_view:", _open, path)


def _typed(path: Path) -> str:
    return str(path.relative_to(REPOSITORY) if path.is_relative_to(REPOSITORY) else path)


def _open(path: str) -> None:
    st.session_state["adapters_path"] = path
    st.session_state["adapters_uploader"] = st.session_state.get("adapters_uploader", 0) + 1
