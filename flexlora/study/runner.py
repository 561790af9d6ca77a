"""``run_study``: make the runs that are missing, freeze the choice, compare the budgets, write the table."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from flexlora.errors import FlexLoRAError
from flexlora.study.equality import expected_differences, measured_differences, refusal
from flexlora.study.files import (
    COSTS,
    OUTPUTS,
    PARQUET,
    RUNS,
    SUMMARY,
    TABLE,
    TRIALS,
    json_bytes,
    replace_file,
    study_folder,
)
from flexlora.study.herds import herds
from flexlora.study.outcome import Outcome, find_outcome
from flexlora.study.plan import Plan, Planned
from flexlora.study.policy_files import keep_policies
from flexlora.study.pool import default_jobs, run_here
from flexlora.study.progress import Count, Progress
from flexlora.study.ray_pool import require_ray, run_on_ray
from flexlora.study.spec import lower_is_better
from flexlora.study.table import add_budgets, csv_bytes, parquet_bytes, read_rows
from flexlora.study.tuning import edges, freeze_choices, frozen_choices, metric_of

NOT_HELD = "Nothing is held equal between the variants."


class StudyStopped(Exception):
    """The study was stopped from outside; what is done is kept."""


def run_study(
    plan: Plan,
    out: Path,
    text: str,
    *,
    resume: bool = False,
    jobs: int | None = None,
    lanes: int | None = None,
    on_ray: bool = False,
    allow_unequal: bool = False,
    stopping: threading.Event | None = None,
    told: Callable[[Count], object] | None = None,
) -> dict[str, Any]:
    """Make a study, or what is missing of it.

    Args:
        plan: what to make.
        out: its folder.
        text: the study file, of which a copy is kept.
        resume: go on with the study in ``out``; one that is not there yet is begun.
        jobs: runs side by side; None = as many as fit.
        lanes: runs that share their steps at most, see ``flexlora.study.herds``; None = what suits the device, and each
            alone where time is what is held equal.
        on_ray: on a Ray cluster instead of child processes.
        allow_unequal: compare although the budgets differ; the table carries a note.
        stopping: set from outside to stop.
        told: is given the count of what is done now and then; None = a line on standard error.

    Returns:
        ``table``, ``parquet``, ``costs`` (paths), ``runs``, ``trials``, ``skipped`` (done before), ``diverged``,
        ``equal`` (unit, held, note), ``edges`` (variants whose learning rate lies at an end of the search).

    Raises:
        FlexLoRAError: bad input, or budgets that are not equal; then no table is there.
        StudyStopped: after ``stopping``.
    """
    stopping = stopping or threading.Event()
    if on_ray:
        require_ray()
    if not allow_unequal:
        _refuse_unequal(plan)
    lanes = 1 if lanes is None and plan.study.equal.unit == "time" else lanes
    make = _Maker(out, jobs, lanes, on_ray, stopping, told)
    with study_folder(out, text, resume=resume):
        for changed in keep_policies(out, plan.study.entries):
            sys.stderr.write(f"note: {changed}\n")
        choices = None
        if plan.study.tuning is not None:
            choices = frozen_choices(plan, out)
            if choices is None:
                make("trials", plan.trials, TRIALS)
                choices = freeze_choices(plan, out)
        runs = plan.runs(choices)
        outcomes = make("runs", runs, RUNS)
        return {
            **_write(plan, runs, outcomes, out, allow_unequal=allow_unequal),
            "trials": len(plan.trials),
            "skipped": make.skipped,
        }


def _refuse_unequal(plan: Plan) -> None:
    # With any trial's settings: what is tuned is no part of a budget.
    likely = plan.runs([own[0] if own else {} for own in plan.chosen])
    differences = expected_differences(plan, likely)
    if differences:
        told = refusal(plan.study.equal, differences)
        raise FlexLoRAError(f"{told} Nothing was run; --allow-unequal runs it and notes it in the table.")


class _Maker:
    def __init__(
        self,
        out: Path,
        jobs: int | None,
        lanes: int | None,
        on_ray: bool,
        stopping: threading.Event,
        told: Callable[[Count], object] | None,
    ) -> None:
        self.skipped, self._told = 0, told
        self._out, self._jobs, self._lanes = out, jobs, lanes
        self._on_ray, self._stopping = on_ray, stopping

    def __call__(self, what: str, runs: Sequence[Planned], folder: str) -> dict[str, Outcome]:
        """Make the runs that are missing; return how each ended."""
        root = self._out / folder
        found = {run.name: find_outcome(root / run.name, run.job) for run in runs}
        outcomes = {name: outcome for name, outcome in found.items() if outcome is not None}
        self.skipped += len(outcomes)
        missing = [run for run in runs if run.name not in outcomes]
        if missing:
            for name in OUTPUTS:
                # A table of an earlier file must not pass for this one's.
                (self._out / name).unlink(missing_ok=True)
            root.mkdir(exist_ok=True)
            progress = Progress(what, runs, set(outcomes), told=self._told)
            pool = run_on_ray if self._on_ray else run_here
            jobs = self._jobs or default_jobs(missing)
            outcomes |= pool(herds(missing, jobs, self._lanes), root, progress, self._stopping, jobs)
            progress.show(last=True)
        if any(run.name not in outcomes or outcomes[run.name].state == "stopped" for run in runs):
            raise StudyStopped
        return outcomes


def _write(
    plan: Plan, runs: Sequence[Planned], outcomes: Mapping[str, Outcome], out: Path, *, allow_unequal: bool
) -> dict[str, Any]:
    rows, costs = read_rows(plan, runs, outcomes, out / RUNS)
    _check_metric(plan, runs, rows)
    both = [{**row, **cost} for row, cost in zip(rows, costs, strict=True)]
    differences = measured_differences(plan, both)
    if differences and not allow_unequal:
        for name in OUTPUTS:
            (out / name).unlink(missing_ok=True)
        raise FlexLoRAError(
            f"{refusal(plan.study.equal, differences)} The runs are kept, no table is written; --resume "
            "--allow-unequal writes it with this note."
        )
    equal = plan.study.equal
    note = refusal(equal, differences) if differences else NOT_HELD if equal.unit == "none" else ""
    add_budgets(plan, rows, costs, note)
    # The summary comes last: with it, the rest is whole.
    replace_file(out / COSTS, csv_bytes(costs))
    replace_file(out / PARQUET, parquet_bytes(rows))
    replace_file(out / TABLE, csv_bytes(rows))
    held = {"unit": equal.unit, "tolerance": equal.tolerance, "held": not note, "note": note}
    replace_file(out / SUMMARY, json_bytes(summary_of(plan, held, out)))
    diverged = [run for run in runs if outcomes[run.name].state == "diverged"]
    for run in diverged[:5]:
        sys.stderr.write(f"{run.variant.title}, seed {run.seed} diverged: {outcomes[run.name].message}\n")
    return {
        "table": str(out / TABLE),
        "parquet": str(out / PARQUET),
        "costs": str(out / COSTS),
        "runs": len(runs),
        "diverged": len(diverged),
        "equal": held,
        "edges": edges(out),
    }


def _check_metric(plan: Plan, runs: Sequence[Planned], rows: Sequence[Mapping[str, Any]]) -> None:
    for run, row in zip(runs, rows, strict=True):
        metric = metric_of(plan, run.variant)
        if row["state"] == "completed" and all(
            row.get(f"{split}_{metric}") is None for split in ("test", "validation")
        ):
            known = sorted(
                key.removeprefix("validation_")
                for key, value in row.items()
                if key.startswith("validation_") and value is not None
            )
            raise FlexLoRAError(
                f"{run.variant.title}: there is no metric {metric!r}. Choose one of: {', '.join(known) or 'none'}."
            )


def summary_of(plan: Plan, equal: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Return what a reader of the table has to know beside it."""
    study = plan.study
    groups = []
    for (task, cell), variants in plan.groups().items():
        metric = metric_of(plan, variants[0])
        group = {"task": task, "cell": cell, "reference": plan.reference((task, cell)).label}
        group |= {"variants": [variant.label for variant in variants]}
        groups.append({**group, "metric": metric, "lower_is_better": lower_is_better(metric)})
    return {
        "format": 1,
        "name": study.name,
        "about": study.about,
        "seeds": list(study.seeds),
        "margin": study.margin,
        "equal": dict(equal),
        "tuned": None if study.tuning is None else {"trials": study.tuning.trials, "edges": edges(out)},
        "groups": groups,
    }
