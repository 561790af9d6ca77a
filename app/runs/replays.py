"""Replays for the What-if page: rules as widgets, results in words, and the real run that checks an approximation."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path
from typing import Any, NamedTuple

import streamlit as st

from analysis.metrics import final_ranks
from analysis.run_config import config_at
from analysis.runs import Run, load_run
from analysis.what_if import (
    MODES,
    Decisions,
    Difference,
    WhatIfError,
    chance_agreement,
    compare_decisions,
    logged_decisions,
    own_settings,
    random_moves,
    replay,
    unavailable_measures,
)
from flexlora.config import PRESETS, FlexLoRAConfig
from flexlora.errors import FlexLoRAError
from flexlora.importance import IMPORTANCES
from flexlora.job import Job, build_job
from flexlora.run_header import versions
from flexlora.run_log import RunLogError, find_runs, glance_run, read_header, run_state
from flexlora.settings import full_help
from runs.store import RunEntry, plain, run_entries, runs_root
from widgets import select

RULES = ("importance", "direction", "rank_one", "all_zero", "plan", "protection")
"""Options beside the schedule that change which matrices an event chooses."""
NONE = "–"


class Badge(NamedTuple):
    """How a mode is shown, so that none is taken for the other."""

    label: str
    colour: str
    icon: str
    help: str


MODE_BADGES = {
    "exact": Badge("Exact at each event", "green", ":material/check_circle:", MODES["exact"]),
    "frozen": Badge("Approximation on frozen spectra", "orange", ":material/blur_on:", MODES["frozen"]),
}


class Found(NamedTuple):
    """A replay beside what the run did."""

    run: Run
    mode: str
    actual: Decisions
    replay: Decisions
    difference: Difference
    chance: float | None


class Trained(NamedTuple):
    """A real run with the settings of a replay."""

    sentence: str
    difference: Difference | None


def base_of(run: Run) -> tuple[FlexLoRAConfig | None, str | None]:
    """Return the settings that changes are made to, and what to know about them; None when there are none."""
    if run.header.get("singular_values") == "unknown":
        return None, "This run was imported from a log of ranks. It holds no λ, so no rule can be replayed on it."
    try:
        own = own_settings(run)
        config = config_at(run)
    except WhatIfError as error:
        if run.header.get("method") in (None, "flexlora"):
            return None, str(error)
    else:
        edited = own(1) != config
        note = "This run was edited while it trained; changes are made to what was in force at its end."
        return (config, note if edited else None) if isinstance(config, FlexLoRAConfig) else (None, None)
    total, rank = max(2, run.total_steps), max(1, round(float(run.ranks[0].mean())))
    told = f"This is a run of {run.header['method']}: here FlexLoRA's rule decides on its spectra."
    return FlexLoRAConfig(total_steps=total, initial_rank=rank), told


def ruled(scope: str, run: Run, base: FlexLoRAConfig, mode: str) -> FlexLoRAConfig:
    """Draw the rules as widgets; return the base with what was chosen. What a log cannot answer is not offered."""
    missing = unavailable_measures(run, mode)
    items = FlexLoRAConfig.__dataclass_fields__
    changes: dict[str, Any] = {}
    columns = st.columns(len(RULES) + 1)
    first, told = list(PRESETS).index(base.preset), items["preset"].metadata["help"]
    preset = select("preset", list(PRESETS), f"{scope}_preset", columns[0], index=first, help=told)
    if preset != base.preset:
        changes |= {key: PRESETS[preset][key] for key in (*RULES, "schedule", "initial_budget", "epsilon")}
    start = {**base.to_dict(), **changes}
    for column, key in zip(columns[1:], RULES, strict=True):
        widget, label, told = f"{scope}_{preset}_{key}", key.replace("_", " "), full_help(items[key])
        if key == "protection":
            now = int(start[key])
            changes[key] = column.number_input(label, 0, 1000, now, key=widget, help=told, persist_state="session")
            continue
        choices = [name for name in items[key].metadata["choices"] if key != "importance" or name not in missing]
        first = choices.index(start[key]) if start[key] in choices else 0
        changes[key] = select(label, choices, widget, column, index=first, help=told)
    if missing:
        st.caption("Not offered: " + " ".join(plain(reason) for reason in missing.values()))
    different = {key: value for key, value in changes.items() if value != getattr(base, key)}
    return base.replace(**different) if different else base


def replayed(run: Run, config: FlexLoRAConfig, mode: str) -> Found | str:
    """Return the replay of a configuration, or why there is none."""
    try:
        actual, other = logged_decisions(run), replay(run, config, mode)
        chance = chance_agreement(run, other, config, mode, actual)
    except FlexLoRAError as error:
        return str(error)
    return Found(run, mode, actual, other, compare_decisions(actual, other), chance)


def tell(found: Found, own: bool) -> str:
    """Return the result in sentences."""
    agreement = found.difference.agreement
    start = "These are the run's own settings. " if own else ""
    if agreement is None:
        return f"{start}Neither the run nor the replay moves anything."
    told = f"{start}{agreement:.0%} of all moves agree"
    if found.chance is not None:
        told += f" (random moves of equal number: {found.chance:.0%})"
    told += f". Directions moved: {found.actual.moves} as it was, {found.replay.moves} what-if."
    if found.difference.rank_difference is not None:
        changed = int((found.difference.rank_difference != 0).sum())
        told += f" Final ranks would differ in {changed} of {len(found.difference.names)} matrices."
    return told


def alternatives(found: Found, config: FlexLoRAConfig) -> dict[str, list[str]]:
    """Return columns of a table: the what-if, random moves of equal number, and every other measure."""
    run, mode = found.run, found.mode
    rows = [("this what-if", found.replay)]
    rows.append(("random moves of equal number", random_moves(run, found.replay, config, mode)))
    missing = unavailable_measures(run, mode)
    for key in IMPORTANCES:
        if key not in missing and key != config.importance:
            rows.append((f"importance {key}", replay(run, config.replace(importance=key), mode)))
    table = [("choice", "directions moved", "agreement", "final ranks that differ")]
    for label, decisions in rows:
        difference = compare_decisions(found.actual, decisions)
        agreement = found.chance if decisions is rows[1][1] else difference.agreement
        changed = difference.rank_difference
        shares = NONE if agreement is None else f"{agreement:.0%}"
        differ = NONE if changed is None else str(int((changed != 0).sum()))
        table.append((plain(label), str(decisions.moves), shares, differ))
    return {name: cells for name, *cells in zip(*table, strict=True)}


def job_of(run: Run, config: FlexLoRAConfig) -> Job | str:
    """Return the job that trains a run's task with other settings, or why that cannot be."""
    try:
        flat = Job.from_dict(run.config)
        job = Job(task=flat.task, method="flexlora", loop=flat.loop, config=config)
        build_job(job.task, "flexlora", steps=job.steps)
    except (FlexLoRAError, KeyError, TypeError) as error:
        return f"This run cannot be trained again here: {error}"
    return job


def find_trained(run: Run, job: Job) -> Trained | None:
    """Return the latest real run that was started from this replay, and how good the approximation was."""
    wanted = job.to_dict()
    for folder in find_runs(runs_root()):
        try:
            header, _ = read_header(folder)
            if header.get("parent") != run.folder.name or header.get("config") != wanted:
                continue
            return _judged(run, load_run(folder), job)
        except RunLogError:
            continue
    return None


def trained_already(job: Job, coming: Container[Path] = ()) -> RunEntry | None:
    """Return a run of exactly this job and packages, never edited: finished or in a folder of ``coming``; or None."""
    wanted, packages = job.to_dict(), versions()
    for entry in run_entries():
        try:
            header, _ = read_header(entry.folder)
            if header.get("config") != wanted or header.get("versions") != packages:
                continue
            glance = glance_run(entry.folder)
        except RunLogError:
            continue
        edited = any(note.get("kind") == "edited" for note in glance.notes)
        if not edited and (entry.folder in coming or run_state(entry.folder, glance.end) == "finished"):
            return entry
    return None


def _judged(run: Run, trained: Run, job: Job) -> Trained:
    name = trained.folder.name
    if trained.state != "finished":
        last = int(trained.steps[-1]) if len(trained.steps) else 0
        return Trained(f"{name} trains these settings: step {last} of {trained.total_steps}, {trained.state}.", None)
    if not isinstance(job.config, FlexLoRAConfig):
        return Trained(f"{name} is no run of flexlora.", None)
    real = logged_decisions(trained)
    told = []
    frozen = None
    for mode, words in (("exact", "exact at each event"), ("frozen", "the approximation")):
        try:
            difference = compare_decisions(real, replay(run, job.config, mode))
        except FlexLoRAError:
            continue
        frozen = difference if mode == "frozen" else frozen
        if difference.agreement is not None:
            told.append(f"{words} foretold {difference.agreement:.0%}")
    if frozen is not None and frozen.rank_difference is not None:
        distance = int(abs(frozen.rank_difference).sum())
        apart = int(abs(final_ranks(trained) - final_ranks(run)).sum())
        told.append(f"final ranks: {distance} directions off, while the two real runs are {apart} apart")
    return Trained(f"{name} was trained with these settings. Of its moves, {'; '.join(told)}.", frozen)
