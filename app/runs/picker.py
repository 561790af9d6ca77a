"""``run_picker``: which run is shown, and which one beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import streamlit as st
from streamlit.components.v2 import component

from analysis.player_modules import FOLDER
from assets import loader

_mount = component(
    "flexlora_run_picker", js=loader("runs/picker.js"), css=(FOLDER / "runs/picker.css").read_text(encoding="utf-8")
)


def run_picker(
    key: str,
    *,
    runs: Mapping[str, tuple[str, str]],
    run: str,
    on_run: Callable[[str], None],
    others: Mapping[str, tuple[str, str]],
    other: str | None,
    on_other: Callable[[str | None], None],
) -> None:
    """Draw two lists, grouped by where a run is from. They are the browser's own, which are there with the page.

    Streamlit's select box costs the first picture .3 s.

    Args:
        key: Streamlit key.
        runs: key of a run → its name, and the heading under which it stands.
        run: the one that is shown.
        on_run: called with the key of another one, before the page runs again.
        others: the same of what can be compared with.
        other: the one that is, None = none.
        on_other: called with its key, or with None.
    """

    def picked() -> None:
        choice = st.session_state[key]["picked"] or {}
        if choice.get("run") in runs:
            on_run(choice["run"])
        elif "other" in choice and (choice["other"] is None or choice["other"] in others):
            on_other(choice["other"])

    data = {"runs": _choices(runs), "others": _choices(others), "run": run, "other": other}
    _mount(key=key, data=data, on_picked_change=picked)


def _choices(names: Mapping[str, tuple[str, str]]) -> list[dict[str, str]]:
    groups = list(dict.fromkeys(group for _, group in names.values()))
    found = [{"key": key, "label": name, "group": group} for key, (name, group) in names.items()]
    return sorted(found, key=lambda choice: groups.index(choice["group"]))
