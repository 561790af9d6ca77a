"""Groups of runs that differ in their seed only: the variants of a study, or plain runs by method and setting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from analysis.config_differences import BOOKKEEPING, ConfigDifference, chosen_differences
from analysis.metrics import evaluation_series
from analysis.runs import Run, load_run
from analysis.study.compare import StudyTable
from flexlora.errors import FlexLoRAError
from flexlora.methods import METHODS
from flexlora.study.equality import Sides, refusal, row_differences
from flexlora.study.files import RUNS
from flexlora.study.spec import TOLERANCES, Equal, label_of, lower_is_better
from flexlora.study.table import measured_costs, measured_row

LEAST_RUNS = 2


@dataclass(frozen=True)
class Group:
    """Runs of one variant.

    Attributes:
        task: its task.
        cell: values of the axes within which it is compared; "" without any.
        label: what tells it from the groups of the same task and cell.
        method: key of its method; "" where the log names none.
        number: how many groups of the same method stand before it in its task and cell, for its look.
        runs: seed → run, in order of seed.
    """

    task: str
    cell: str
    label: str
    method: str
    number: int
    runs: Mapping[int, Run]

    @property
    def place(self) -> tuple[str, str]:
        """Task and cell: what it is compared within."""
        return self.task, self.cell

    def intact(self) -> dict[int, Run]:
        """Return seed → run of those that did not fail: a mean over steps must not change its members."""
        return {seed: run for seed, run in self.runs.items() if (run.end or {}).get("reason") != "failed"}


def study_groups(study: StudyTable) -> list[Group]:
    """Return the variants of a study with their runs, in the order of its file.

    Raises:
        RunLogError: a run cannot be read.
        FlexLoRAError: the table has no folder of runs.
    """
    if study.folder is None:
        raise FlexLoRAError("This table was made from runs that are open; it has no folder of its own.")
    found = []
    for group in study.summary["groups"]:
        for label in group["variants"]:
            own = [
                row
                for row in study.rows
                if (row["task"], row["cell"], row["variant"]) == (group["task"], group["cell"], label)
            ]
            runs = {row["seed"]: load_run(study.folder / RUNS / row["run"]) for row in own}
            method = str(own[0].get("method") or "") if own else ""
            found.append(Group(group["task"], group["cell"], label, method, 0, dict(sorted(runs.items()))))
    return _numbered(found)


def plain_groups(runs: Mapping[str, Run]) -> tuple[list[Group], list[str]]:
    """Group runs by task, method and the settings that differ, whoever made them; within a group seeds differ.

    Args:
        runs: name → run.

    Returns:
        The groups in the order of their first run, and a sentence for each run that is left out: without a seed it
        cannot be paired, and of two with the same settings and seed the first is taken.
    """
    notices: list[str] = []
    kinds: list[tuple[tuple[str, str], Mapping[str, Any], dict[int, Run]]] = []
    for name, run in runs.items():
        seed = run.header.get("seed", run.config.get("seed"))
        if not isinstance(seed, int):
            notices.append(f"{name} names no seed, so it has no pair: left out.")
            continue
        place = str(run.header.get("task") or "a task"), str(run.header.get("method") or "")
        own = next((kind for kind in kinds if kind[0] == place and _alike(kind[1], run.config)), None)
        if own is None:
            kinds.append((place, run.config, {seed: run}))
        elif seed in own[2]:
            notices.append(f"{name} has the settings and the seed of another run: left out.")
        else:
            own[2][seed] = run
    found = []
    for (task, method), config, members in kinds:
        others = [other for place, other, _ in kinds if place == (task, method) and other is not config]
        label = ", ".join([METHODS[method].title if method in METHODS else method or "run", *_told(config, others)])
        found.append(Group(task, "", label, method, 0, dict(sorted(members.items()))))
    return _numbered(found), notices


def group_table(
    groups: Sequence[Group],
    *,
    unit: str = "final_rank",
    tolerance: float | None = None,
    metric: str | None = None,
    reference: str | None = None,
    margin: float | None = None,
    allow_unequal: bool = False,
) -> StudyTable:
    """Return plain groups as the table of a study, so that everything that reads one takes them.

    Args:
        groups: as ``plain_groups`` gives them.
        unit: what must be equal: ``final_rank``, ``final_parameters``, ``parameter_steps``, ``time`` or ``none``.
        tolerance: how much more or less than the reference is allowed, as a share; None = the unit's own.
        metric: what is compared; None = the first that is evaluated, other than the loss.
        reference: label of what the others stand against; None = the first of each task.
        margin: a difference smaller than this would not matter; None = "no difference" is never claimed.
        allow_unequal: go on where the budgets differ; the note says by how much.

    Raises:
        FlexLoRAError: unequal budgets, by how much; a task with one group, or nothing that is measured.
    """
    equal = Equal(unit, TOLERANCES[unit] if tolerance is None else tolerance)
    rows, costs = [], []
    for group in groups:
        for seed, run in group.runs.items():
            row = {"run": run.folder.name, "task": group.task, "cell": group.cell, "variant": group.label}
            row |= {"method": group.method, "preset": run.header.get("preset"), "seed": seed}
            row |= {"learning_rate": run.config.get("learning_rate"), **measured_row(run.log, _state(run))}
            rows.append(row)
            costs.append({"run": run.folder.name, **measured_costs(run.log)})
    columns = dict.fromkeys(key for row in rows for key in row)
    rows = [{key: row.get(key) for key in columns} for row in rows]
    found = _sides(groups, reference)
    both = [{**row, **cost} for row, cost in zip(rows, costs, strict=True)]
    differences = row_differences(both, found, equal)
    if differences and not allow_unequal:
        raise FlexLoRAError(refusal(equal, differences))
    note = refusal(equal, differences) if differences else "Nothing is held equal." if unit == "none" else ""
    summary = {
        "name": "These runs",
        "seeds": sorted({row["seed"] for row in rows}),
        "margin": margin,
        "equal": {"unit": unit, "tolerance": equal.tolerance, "held": not note, "note": note},
        "tuned": None,
        "groups": [_summary(groups, place, *side, metric) for place, side in found.items()],
    }
    return StudyTable(None, summary, rows, costs)


def _sides(groups: Sequence[Group], reference: str | None) -> dict[tuple[str, str], tuple[str, list[str]]]:
    places: dict[tuple[str, str], list[str]] = {}
    for group in groups:
        places.setdefault(group.place, []).append(group.label)
    found: Sides = {place: (reference if reference in own else own[0], own) for place, own in places.items()}
    alone = [" · ".join(filter(None, place)) for place, own in places.items() if len(own) < LEAST_RUNS]
    if alone or not found:
        raise FlexLoRAError(f"A comparison needs two groups of one task; {', '.join(alone) or 'nothing'} has one.")
    return dict(found)


def _summary(
    groups: Sequence[Group], place: tuple[str, str], reference: str, labels: list[str], metric: str | None
) -> dict[str, Any]:
    own = [run for group in groups if group.place == place for run in group.runs.values()]
    measured = [series[1] for series in map(evaluation_series, own) if series is not None]
    if metric is None and not measured:
        raise FlexLoRAError(f"Nothing is evaluated in the runs of {place[0]}: there is nothing to compare.")
    name = metric or measured[0]
    found = {"task": place[0], "cell": place[1], "reference": reference, "variants": labels, "metric": name}
    return {**found, "lower_is_better": lower_is_better(name)}


def _state(run: Run) -> str:
    reason = (run.end or {}).get("reason")
    return "completed" if reason == "completed" else "diverged" if reason == "failed" else "stopped"


def _alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    kept = [{k: v for k, v in own.items() if k != "seed" and k not in BOOKKEEPING} for own in (one, other)]
    return kept[0] == kept[1]


def _told(config: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return "option value" for each option in which a group differs from another of its method, by choice."""
    found: list[ConfigDifference] = [one for other in others for one in chosen_differences(config, other)]
    options = dict.fromkeys(one.option for one in found)
    return [f"{option.replace('_', ' ')} {label_of(config[option])}" for option in options if option in config]


def _numbered(groups: Sequence[Group]) -> list[Group]:
    counts: dict[tuple[str, str, str], int] = {}
    found = []
    for group in groups:
        key = (*group.place, group.method)
        found.append(replace(group, number=counts.get(key, 0)))
        counts[key] = counts.get(key, 0) + 1
    return found
