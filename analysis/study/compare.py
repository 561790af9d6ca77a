"""``compare_study``: paired differences of every variant against its reference, with all that a claim needs."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from analysis.statistics import CONFIDENCE, Comparison, compare_pairs, equivalence_p, holm, interval, verdict
from analysis.study.summary import check_summary
from flexlora.errors import FlexLoRAError
from flexlora.study.files import COSTS, PARQUET, SUMMARY

SPLITS = ("test", "validation")
RANGES = {"accuracy": 1.0, "matthews": 2.0, "pearson": 2.0, "spearman": 2.0}
"""Metric → how far two of its values can lie apart."""


@dataclass(frozen=True)
class StudyTable:
    """The table of a study and what has to be known beside it.

    Attributes:
        folder: of the study; None for a table of runs that are open.
        summary: content of ``study.json``.
        rows: one a run, column → value.
        costs: what the clock said, one a run, column → value or text; empty where nobody knows.
    """

    folder: Path | None
    summary: dict[str, Any]
    rows: list[dict[str, Any]]
    costs: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Compared:
    """One variant of a study.

    Attributes:
        task: its task.
        cell: values of the axes within which it is compared; "" without any.
        variant: its label.
        method: key of its method; "" where the table names none.
        reference: label of what it is compared with.
        metric: such as ``test_accuracy``.
        lower_is_better: True for a loss.
        n: runs that completed.
        missing: runs that diverged.
        mean: of the metric.
        low: lower end of the 95 % interval of the mean over seeds; NaN for n < 2.
        high: its upper end.
        pairs: of the differences variant − reference, over seeds that both completed; None for the reference itself
            and where no seed is left. Its ``detectable`` is NaN where there is none: with fewer pairs than ``needed``,
            and where it would be more than the metric can differ by.
        adjusted_p: Holm over all comparisons of the study; NaN without.
        equivalent_p: of "the difference is within ± the study's margin"; None without a margin.
        verdict: as in ``analysis.statistics.verdict``; "" for the reference, and where budgets that should be equal are
            not.
        spent: mean over seeds of final_rank, final_parameters and parameter_steps.
        moved: mean number of directions pruned or extended, whichever is more.
        needed: ``pairs_needed`` by the comparisons of the study.
    """

    task: str
    cell: str
    variant: str
    method: str
    reference: str
    metric: str
    lower_is_better: bool
    n: int
    missing: int
    mean: float
    low: float
    high: float
    pairs: Comparison | None
    adjusted_p: float
    equivalent_p: float | None
    verdict: str
    spent: Mapping[str, float]
    moved: float
    needed: int

    @property
    def too_few(self) -> bool:
        """True where no difference could be claimed with these pairs, however large it is."""
        return self.pairs is not None and self.pairs.n < self.needed


def load_study(folder: str | Path) -> StudyTable:
    """Read the table of a study.

    Raises:
        FlexLoRAError: there is none, because the study is not done or compares what is not equal; or it is damaged.
    """
    folder = Path(folder)
    try:
        summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        rows = pq.read_table(folder / PARQUET).to_pylist()
        _ = [(row["seed"], row["state"]) for row in rows]
        check_summary(summary, rows)
    except FileNotFoundError as error:
        raise FlexLoRAError(
            f"{folder} has no table of a study. It is written when all runs are done and their budgets are equal: "
            f"python -m flexlora.study STUDY.yaml --out {folder} --resume."
        ) from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError, pa.ArrowException) as error:
        raise FlexLoRAError(f"The table of {folder} is damaged: {' '.join(str(error).split())}.") from error
    return StudyTable(folder, summary, rows, _costs(folder / COSTS))


def compare_study(study: StudyTable, *, margin: float | None = None, seed: int = 0) -> list[Compared]:
    """Compare every variant with its reference, on the test split, or on validation where test was not read.

    Args:
        study: its table.
        margin: a difference smaller than this would not matter, in the unit of the metric; None = the study's.
        seed: of the resampling.

    Returns:
        One a variant, group by group, the reference among them.

    Raises:
        FlexLoRAError: the metric is in no column.
    """
    margin = study.summary["margin"] if margin is None else margin
    found = [one for group in study.summary["groups"] for one in _group(study, group, margin, seed)]
    adjusted = holm({str(place): one.pairs.p if one.pairs else math.nan for place, one in enumerate(found)})
    needed = pairs_needed(sum(not math.isnan(p) for p in adjusted.values()))
    judged = [_judged(replace(one, needed=needed), adjusted[str(place)]) for place, one in enumerate(found)]
    return [replace(one, verdict="") for one in judged] if unequal_budgets(study) else judged


def unequal_budgets(study: StudyTable) -> bool:
    """True where budgets that should be equal are not, and somebody went on: then nothing is claimed."""
    return study.summary["equal"]["unit"] != "none" and not study.summary["equal"]["held"]


def metric_column(rows: Sequence[Mapping[str, Any]], name: str) -> str:
    """Return the column of a metric: of the test split, or of validation where test was not read.

    Raises:
        FlexLoRAError: it is in no column.
    """
    for split in SPLITS:
        if any(row.get(f"{split}_{name}") is not None for row in rows):
            return f"{split}_{name}"
    known = sorted({key for row in rows for key in row if key.startswith(tuple(f"{split}_" for split in SPLITS))})
    raise FlexLoRAError(f"The table has no value of {name!r}. It has: {', '.join(known) or 'no metric'}.")


def pairs_needed(comparisons: int) -> int:
    """Return how many pairs a table of so many comparisons needs at least, for any difference to be claimed.

    The sign-flip test of n pairs cannot give less than 2^(1 − n), and Holm multiplies the smallest p by their number.
    """
    return 1 + math.ceil(math.log2(max(1, comparisons) / (1 - CONFIDENCE)) - 1e-9)


def _costs(path: Path) -> list[dict[str, Any]]:
    """Return the rows of the costs; none where the file is not there, as in a study that somebody passed on."""
    if not path.exists():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise FlexLoRAError(f"{path.name} of the study is damaged: {' '.join(str(error).split())}.") from error


def _group(study: StudyTable, group: Mapping[str, Any], margin: float | None, seed: int) -> list[Compared]:
    own = [row for row in study.rows if (row["task"], row["cell"]) == (group["task"], group["cell"])]
    metric = metric_column(own, group["metric"])
    values = {
        label: {row["seed"]: row[metric] for row in own if row["variant"] == label and row[metric] is not None}
        for label in group["variants"]
    }
    base, found = values[group["reference"]], []
    for label in group["variants"]:
        rows = [row for row in own if row["variant"] == label]
        done = [row for row in rows if row["state"] == "completed"]
        sample = np.array(list(values[label].values()), float)
        low, high = interval(sample, seed=seed) if len(sample) else (math.nan, math.nan)
        shared = [key for key in values[label] if key in base] if label != group["reference"] else []
        differences = [values[label][key] - base[key] for key in shared]
        found.append(
            Compared(
                task=group["task"],
                cell=group["cell"],
                variant=label,
                method=str(rows[0].get("method") or "") if rows else "",
                reference=group["reference"],
                metric=metric,
                lower_is_better=bool(group["lower_is_better"]),
                n=len(sample),
                missing=len(rows) - len(sample),
                mean=float(sample.mean()) if len(sample) else math.nan,
                low=low,
                high=high,
                pairs=compare_pairs(differences, seed=seed) if differences else None,
                adjusted_p=math.nan,
                equivalent_p=equivalence_p(differences, margin) if differences and margin else None,
                verdict="",
                spent={key: _mean(done, key) for key in ("final_rank", "final_parameters", "parameter_steps")},
                moved=_moved(done),
                needed=0,
            )
        )
    return found


def _judged(one: Compared, adjusted_p: float) -> Compared:
    if one.pairs is None:
        return one
    pairs = one.pairs
    if one.lower_is_better:
        pairs = replace(pairs, mean=-pairs.mean, low=-pairs.high, high=-pairs.low)
    judged = replace(one, adjusted_p=adjusted_p, verdict=verdict(pairs, adjusted_p, one.equivalent_p))
    widest = RANGES.get(one.metric.partition("_")[2], math.inf)
    if one.too_few or one.pairs.detectable > widest:
        judged = replace(judged, pairs=replace(one.pairs, detectable=math.nan))
    return judged


def _mean(rows: Sequence[Mapping[str, Any]], key: str) -> float:
    return float(np.mean([row[key] for row in rows])) if rows else math.nan


def _moved(rows: Sequence[Mapping[str, Any]]) -> float:
    return float(np.mean([max(row["pruned"], row["extended"]) for row in rows])) if rows else math.nan
