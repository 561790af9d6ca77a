"""``with_reference``: the same study, read against another of its variants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from analysis.study.compare import StudyTable
from flexlora.errors import FlexLoRAError
from flexlora.study.equality import refusal, row_differences
from flexlora.study.spec import Equal


def with_reference(study: StudyTable, reference: str) -> StudyTable:
    """Return a study whose variants stand against ``reference``; where a group has no such variant, as before.

    Whether the budgets are equal is measured anew, since each is held equal to that of the reference.

    Raises:
        FlexLoRAError: no group has this variant.
    """
    groups = study.summary["groups"]
    labels = dict.fromkeys(label for group in groups for label in group["variants"])
    if reference not in labels:
        raise FlexLoRAError(f"No variant is called {reference!r}. There are: {', '.join(labels)}.")
    changed = [{**group, "reference": reference} if reference in group["variants"] else group for group in groups]
    if changed == groups:
        return study
    told = study.summary["equal"]
    equal = Equal(told["unit"], told["tolerance"])
    if equal.unit != "none":
        spent = {row["run"]: _seconds(row) for row in study.costs}
        rows = [{"train_s": spent.get(row["run"]), **row} for row in study.rows]
        sides = {(group["task"], group["cell"]): (group["reference"], group["variants"]) for group in changed}
        differences = row_differences(rows, sides, equal)
        told = {**told, "held": not differences, "note": refusal(equal, differences) if differences else ""}
    return replace(study, summary={**study.summary, "groups": changed, "equal": told})


def _seconds(row: Mapping[str, Any]) -> float | None:
    try:
        return float(row.get("train_s") or "")
    except ValueError:
        return None
