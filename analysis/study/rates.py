"""``rate_curves``: what each trial of a study's search reached, against its learning rate."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.study.compare import StudyTable
from flexlora.errors import FlexLoRAError
from flexlora.study.files import FROZEN
from flexlora.study.spec import lower_is_better


@dataclass(frozen=True)
class RateCurve:
    """The search of one variant.

    Attributes:
        task: its task.
        cell: its cell.
        variant: its label.
        method: key of its method.
        metric: by which was chosen, on validation.
        lower_is_better: True for a loss.
        rates: (trials,) rising.
        values: (trials,) mean over the search's seeds; NaN where a trial diverged.
        others: what each trial set beside its rate, as text; empty where nothing.
        chosen: place of the choice.
        at_end: "lowest" or "highest" where the choice lies at an end of the rates tried, "" otherwise: beyond it there
            may be a better one.
    """

    task: str
    cell: str
    variant: str
    method: str
    metric: str
    lower_is_better: bool
    rates: np.ndarray
    values: np.ndarray
    others: list[str]
    chosen: int
    at_end: str


def rate_curves(study: StudyTable) -> list[RateCurve]:
    """Return the search of each variant; empty where the study had none.

    Raises:
        FlexLoRAError: the file of choices is damaged.
    """
    path = None if study.folder is None else study.folder / FROZEN
    if path is None or not path.exists():
        return []
    methods = {(row["task"], row["cell"], row["variant"]): str(row.get("method") or "") for row in study.rows}
    try:
        return [_curve(row, methods) for row in json.loads(path.read_text(encoding="utf-8"))["variants"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise FlexLoRAError(f"{path} is damaged: {' '.join(str(error).split())}.") from error


def _curve(row: dict[str, Any], methods: dict[tuple[str, str, str], str]) -> RateCurve:
    settings = row["settings"]
    rates = np.array([own["learning_rate"] for own in settings], np.float64)
    values = np.array([math.nan if value is None else value for value in row["validation"]], np.float64)
    order = np.argsort(rates, kind="stable")
    chosen = int(np.flatnonzero(order == settings.index(row["chosen"]))[0])
    rate = row["chosen"]["learning_rate"]
    # Several trials may share a rate, as with a list of them: what counts is the end of the range.
    at_end = "" if len(set(rates)) < LEAST else {rates.min(): "lowest", rates.max(): "highest"}.get(rate, "")
    others = [
        ", ".join(
            f"{key.replace('_', ' ')} {value}" for key, value in settings[place].items() if key != "learning_rate"
        )
        for place in order
    ]
    place = row["task"], row["cell"], row["variant"]
    metric = row["metric"]
    told = (methods.get(place, ""), metric, lower_is_better(metric))
    return RateCurve(*place, *told, rates[order], values[order], others, chosen, at_end)


LEAST = 2
