"""How long a step takes, by the runs that are here."""

from __future__ import annotations

import contextlib
from statistics import median

import streamlit as st

from compare.studies import study_entries
from flexlora.run_log import Glance, RunLogError, find_runs, glance_run
from flexlora.study.files import RUNS
from runs.store import run_entries

MOST_OF_A_STUDY = 40


class Paces:
    """Seconds a step of each task and method, the median over finished runs; what lies around steps is in it."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], list[float]] = {}

    def add(self, glance: Glance) -> None:
        """Note a run that was trained to its end by this project's loop."""
        config, wall = glance.header.get("config"), (glance.end or {}).get("wall_s")
        if not isinstance(config, dict) or not isinstance(wall, int | float) or glance.step < 1:
            return
        task, method = config.get("task"), config.get("method")
        if isinstance(task, str) and isinstance(method, str) and wall > 0:
            self._known.setdefault((task, method), []).append(wall / glance.step)

    def step_s(self, task: str, method: str) -> float | None:
        """Return the seconds; those of other methods on the task where there is none of this one, else None."""
        own = self._known.get((task, method))
        if own is None:
            own = [pace for (known, _), paces in self._known.items() if known == task for pace in paces]
        return median(own) if own else None


@st.cache_resource(ttl=60, show_spinner=False)
def known_paces() -> Paces:
    """Return what the runs that are here took, those of studies among them."""
    paces = Paces()
    folders = [entry.folder for entry in run_entries()]
    for study in study_entries():
        folders += find_runs(study.folder / RUNS)[:MOST_OF_A_STUDY]
    for folder in folders:
        with contextlib.suppress(RunLogError):
            paces.add(glance_run(folder))
    return paces
