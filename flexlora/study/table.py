"""The table of a study: one row a run, from its log alone; what the clock said stands in a file of its own.

The same study file gives the same table, byte for byte, on machines that compute alike, however often it was stopped.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from flexlora import budgets
from flexlora.run_log import RunLog, RunLogError, read_run
from flexlora.study.equality import budget_of
from flexlora.study.outcome import Outcome
from flexlora.study.plan import Plan, Planned
from flexlora.study.spec import label_of
from flexlora.study.tuning import last_metrics

SPLITS = ("validation", "test")
COST_COLUMNS = ("run", "train_s", "step_s", "wall_s", "peak_memory_bytes", "device")


def read_rows(
    plan: Plan, runs: Sequence[Planned], outcomes: Mapping[str, Outcome], root: Path
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the rows of the table and of the costs, one a run, with the same keys in each.

    Raises:
        RunLogError: a log that cannot be read, or of which a part is missing: what was spent would be counted wrongly.
    """
    rows, costs = [], []
    for run in runs:
        row, cost = _row(plan, run, outcomes[run.name], root / run.name)
        rows.append(row)
        costs.append(cost)
    columns = _columns(plan, rows)
    return [{key: row.get(key) for key in columns} for row in rows], costs


def add_budgets(plan: Plan, rows: Sequence[dict[str, Any]], costs: Sequence[Mapping[str, Any]], note: str) -> None:
    """Add to each row what it spent, as a share of its reference with the same seed, and the table's note.

    Of a budget in seconds nothing is added here: a clock says something else each time.
    """
    unit = plan.study.equal.unit
    spent = {}
    for row, cost in zip(rows, costs, strict=True):
        spent[row["task"], row["cell"], row["variant"], row["seed"]] = budget_of({**row, **cost}, unit)
    for row in rows:
        reference = plan.reference((row["task"], row["cell"]))
        own = spent[row["task"], row["cell"], row["variant"], row["seed"]]
        base = spent[row["task"], row["cell"], reference.label, row["seed"]]
        known = unit != "time" and own is not None and base
        row["budget_share"] = own / base if known else None
        row["note"] = note or None


def measured_row(log: RunLog, state: str) -> dict[str, Any]:
    """Return state, metrics of each split (of a run that completed), and what was spent and moved, by the log alone."""
    row: dict[str, Any] = {"state": state}
    if state == "completed":
        for split in SPLITS:
            row |= {f"{split}_{name}": value for name, value in last_metrics(log.evals, split).items()}
    return row | {
        "final_rank": int(budgets.final_ranks(log).sum()),
        "final_parameters": budgets.final_parameters(log),
        "parameter_steps": budgets.parameter_steps(log),
        "pruned": sum(len(event["prune"]) for event in log.events),
        "extended": sum(len(event["extend"]) for event in log.events),
    }


def measured_costs(log: RunLog) -> dict[str, Any]:
    """Return what the clock said, ``COST_COLUMNS`` but for the name."""
    seconds = budgets.train_seconds(log)
    end = log.end or {}
    cost = {"train_s": seconds, "step_s": seconds / max(1, len(log.steps["step"]))}
    cost |= {"wall_s": end.get("wall_s"), "peak_memory_bytes": end.get("peak_memory_bytes")}
    return {**cost, "device": log.header.get("device")}


def csv_bytes(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Return rows as CSV: numbers as Python writes them, so that nothing is rounded; nothing for None."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows([{key: _cell(value) for key, value in row.items()} for row in rows])
    return text.getvalue().encode()


def parquet_bytes(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Return rows as Parquet; a column of several types is one of texts."""
    columns = {}
    for key in rows[0]:
        values = [row[key] for row in rows]
        kinds = {type(value) for value in values if value is not None}
        if kinds == {int, float}:
            values = [None if value is None else float(value) for value in values]
        elif len(kinds) > 1 or kinds & {list, tuple}:
            values = [None if value is None else label_of(value) for value in values]
        columns[key] = pa.array(values, None if kinds else pa.null())
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue().to_pybytes()


def _row(plan: Plan, run: Planned, outcome: Outcome, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    log = read_run(folder)
    if log.notices:
        raise RunLogError(
            f"The log of {folder} is not whole: {log.notices[0]} No table is made of it; remove that folder, and "
            "--resume makes the run anew."
        )
    variant, config = run.variant, run.job.to_dict()
    row: dict[str, Any] = {
        "run": run.name,
        "task": variant.task.name,
        "cell": variant.cell,
        "variant": variant.label,
        "method": run.job.method,
        "preset": run.job.config.preset,
        "seed": run.seed,
        **variant.axes,
        "steps": run.job.steps,
        "learning_rate": run.job.loop.learning_rate,
    }
    knobs = plan.study.tuning.knobs.values() if plan.study.tuning else ()
    row |= {option: config.get(option) for option, _ in knobs if option not in row}
    return {**row, **measured_row(log, outcome.state)}, {"run": run.name, **measured_costs(log)}


def _columns(plan: Plan, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return all columns in one order: what was set, how it ended, what was measured, what was spent."""
    measured = sorted({key for row in rows for key in row if key.startswith(tuple(f"{split}_" for split in SPLITS))})
    known = dict.fromkeys(key for row in rows for key in row if key not in measured)
    before, after = list(known), []
    if "state" in before:
        place = before.index("state") + 1
        after = before[place:]
        before = before[:place]
    # Axes that only some variants have come last in a union; they belong to the settings.
    late = [key for key in after if key in {name for row in plan.variants for name in row.axes}]
    return [*before[:-1], *late, "state", *measured, *[key for key in after if key not in late]]


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, bool | list | tuple):
        return label_of(list(value) if isinstance(value, tuple) else value)
    return repr(value) if isinstance(value, float) else value
