"""``read_partial``: the rows of a study that is not done, or that was refused; from its file and its logs alone."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flexlora.errors import FlexLoRAError
from flexlora.run_log import RunLogError
from flexlora.run_log.format import CHECKSUMS, HEADER
from flexlora.study.equality import measured_differences, refusal
from flexlora.study.files import RUNS, SPEC, TRIALS
from flexlora.study.outcome import find_outcome
from flexlora.study.plan import Plan, Planned, plan_study
from flexlora.study.runner import NOT_HELD, summary_of
from flexlora.study.spec import read_study_text
from flexlora.study.table import add_budgets, read_rows
from flexlora.study.tuning import frozen_choices

Memo = MutableMapping[tuple[Any, ...], tuple[dict[str, Any], dict[str, Any]]]
"""Rows of the table and of the costs, by what they were read from."""


@dataclass(frozen=True)
class Partial:
    """A study as far as it is.

    Attributes:
        plan: what it will be.
        runs: how many are compared in the end.
        trials: how many of the search have ended; none are left where there is no search.
        rows: of the table, one a run that has ended; with ``budget_share`` and ``note``.
        costs: what the clock said of each of them.
        summary: as ``study.json`` says it; ``equal`` is about the rows that are there.
        refused: the sentence that says which budgets differ and by how much; empty where none does so far.
    """

    plan: Plan
    runs: int
    trials: int
    rows: list[dict[str, Any]]
    costs: list[dict[str, Any]]
    summary: dict[str, Any]
    refused: str


def read_plan(folder: Path) -> Plan:
    """Return what the file of a study asks for.

    Raises:
        FlexLoRAError: it is not there, or cannot be made.
    """
    try:
        text = (folder / SPEC).read_text(encoding="utf-8")
    except OSError as error:
        raise FlexLoRAError(f"{folder.name} holds no study file: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise FlexLoRAError(f"The study file of {folder.name} is no text in UTF-8.") from error
    return plan_study(read_study_text(text, f"{folder.name}/{SPEC}", folder.name))


def read_partial(folder: Path, memo: Memo | None = None) -> Partial:
    """Read what is there of a study.

    Args:
        folder: of the study.
        memo: keeps what was read of logs that have not changed since.

    Raises:
        FlexLoRAError: no study file, or logs that another study file made.
    """
    memo = {} if memo is None else memo
    plan = read_plan(folder)
    trials = sum(find_outcome(folder / TRIALS / run.name, run.job) is not None for run in plan.trials)
    choices = frozen_choices(plan, folder) if plan.study.tuning is not None else None
    searched = plan.study.tuning is None or choices is not None
    runs = plan.runs(choices) if searched else []
    found = [_row(plan, run, folder / RUNS / run.name, memo) for run in runs]
    columns = dict.fromkeys(key for pair in found if pair for key in pair[0])
    rows = [{key: pair[0].get(key) for key in columns} for pair in found if pair]
    costs = [dict(pair[1]) for pair in found if pair]
    differences = measured_differences(plan, [{**row, **cost} for row, cost in zip(rows, costs, strict=True)])
    equal = plan.study.equal
    refused = refusal(equal, differences) if differences else ""
    note = refused or (NOT_HELD if equal.unit == "none" else "")
    if rows:
        _add_shares(plan, rows, costs, note)
    held = {"unit": equal.unit, "tolerance": equal.tolerance, "held": not note, "note": note}
    count = len(plan.variants) * len(plan.study.seeds)
    return Partial(plan, count, trials, rows, costs, summary_of(plan, held, folder), refused)


def _add_shares(plan: Plan, rows: list[dict[str, Any]], costs: list[dict[str, Any]], note: str) -> None:
    """Add to each row what ``add_budgets`` does; a row whose reference is not there yet has no share."""
    places = {(row["task"], row["cell"], row["variant"], row["seed"]) for row in rows}
    paired = [
        (row, cost)
        for row, cost in zip(rows, costs, strict=True)
        if (row["task"], row["cell"], plan.reference((row["task"], row["cell"])).label, row["seed"]) in places
    ]
    for row in rows:
        row["budget_share"], row["note"] = None, note or None
    add_budgets(plan, [row for row, _ in paired], [cost for _, cost in paired], note)


def _row(plan: Plan, run: Planned, folder: Path, memo: Memo) -> tuple[dict[str, Any], dict[str, Any]] | None:
    outcome = find_outcome(folder, run.job)
    if outcome is None:
        return None
    stamps = [(folder / name).stat().st_mtime_ns for name in (HEADER, CHECKSUMS) if (folder / name).exists()]
    ident = (str(folder), run.variant.label, run.variant.cell, *stamps)
    if ident not in memo:
        try:
            (row,), (cost,) = read_rows(plan, [run], {run.name: outcome}, folder.parent)
        except RunLogError:
            return None
        memo[ident] = row, cost
    row, cost = memo[ident]
    return dict(row), dict(cost)
