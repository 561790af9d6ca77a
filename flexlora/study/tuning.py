"""The search: what each variant's trials reached on validation, and the choice, frozen before test is read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flexlora.errors import FlexLoRAError
from flexlora.run_log import glance_run
from flexlora.study.files import FROZEN, TRIALS, json_bytes, replace_file
from flexlora.study.outcome import find_outcome
from flexlora.study.plan import Plan, Variant
from flexlora.study.spec import lower_is_better

FORMAT = 1


def frozen_choices(plan: Plan, out: Path) -> list[dict[str, Any]] | None:
    """Return what was chosen for each variant, None when nothing is frozen yet.

    Raises:
        FlexLoRAError: the file is damaged, or was frozen for another search.
    """
    path = out / FROZEN
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        found = [row["chosen"] for row in kept["variants"]]
        searched = [(row["task"], row["cell"], row["variant"], row["settings"]) for row in kept["variants"]]
        seeds, metrics = kept["seeds"], [row["metric"] for row in kept["variants"]]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise FlexLoRAError(f"{path} is damaged; remove it, and the choice is made again from the trials.") from error
    wanted = [
        (*v.group, v.label, json.loads(json.dumps(own))) for v, own in zip(plan.variants, plan.chosen, strict=True)
    ]
    assert plan.study.tuning is not None
    if (searched, seeds, metrics) != (
        wanted,
        list(plan.study.tuning.seeds),
        [metric_of(plan, v) for v in plan.variants],
    ):
        raise FlexLoRAError(
            f"{path} was frozen for another search: other variants, settings, seeds or metric. Choose another --out."
        )
    if any(row["chosen"] not in row["settings"] for row in kept["variants"]):
        raise FlexLoRAError(f"{path} names a choice that was not tried. Choose another --out.")
    return found


def freeze_choices(plan: Plan, out: Path) -> list[dict[str, Any]]:
    """Choose the best trial of each variant by validation, and write the choices; the test split was not read so far.

    Of trials that are equally good the first is taken, the one with the lowest learning rate.

    Raises:
        FlexLoRAError: a variant of which no trial could be finished, or a metric that is not measured.
    """
    rows = []
    for place, variant in enumerate(plan.variants):
        settings = plan.chosen[place]
        scores = _scores(plan, variant, place, out)
        metric = metric_of(plan, variant)
        sign = -1.0 if lower_is_better(metric) else 1.0
        known = [(sign * score, -number) for number, score in enumerate(scores) if score is not None]
        if not known:
            raise FlexLoRAError(f"{variant.title}: every trial diverged. Lower the learning rates of the search.")
        best = -max(known)[1]
        row = {"task": variant.task.name, "cell": variant.cell, "variant": variant.label, "metric": metric}
        rows.append(
            row
            | {"settings": list(settings), "validation": scores, "chosen": settings[best]}
            | {"at_edge": best in (0, len(settings) - 1)}
        )
    assert plan.study.tuning is not None
    content = {"format": FORMAT, "study": plan.study.name, "seeds": list(plan.study.tuning.seeds), "variants": rows}
    replace_file(out / FROZEN, json_bytes(content))
    return [row["chosen"] for row in rows]


def edges(out: Path) -> list[str]:
    """Return the variants whose choice lies at an end of the learning rates that were tried: wider might be better."""
    if not (out / FROZEN).exists():
        return []
    kept = json.loads((out / FROZEN).read_text(encoding="utf-8"))
    names = [[row["variant"], row["cell"], row["task"]] for row in kept["variants"] if row["at_edge"]]
    return [" · ".join(part for part in parts if part) for parts in names]


def metric_of(plan: Plan, variant: Variant) -> str:
    """Return the metric that a variant is chosen and compared by."""
    return variant.task.metric or plan.study.metric


def last_metrics(evals: Sequence[Mapping[str, Any]], split: str) -> dict[str, float | None]:
    """Return metric → value of the last evaluation on a split."""
    found = [record["metrics"] for record in evals if record["split"] == split]
    return dict(found[-1]) if found else {}


def _scores(plan: Plan, variant: Variant, place: int, out: Path) -> list[float | None]:
    """Return the mean over seeds of each trial, None where one of them diverged."""
    assert plan.study.tuning is not None
    seeds = len(plan.study.tuning.seeds)
    count = seeds * plan.study.tuning.trials
    own = plan.trials[place * count : (place + 1) * count]
    metric, values = metric_of(plan, variant), []
    for trial in own:
        folder = out / TRIALS / trial.name
        outcome = find_outcome(folder, trial.job)
        if outcome is None or outcome.state != "completed":
            values.append(np.nan)
            continue
        found = last_metrics(glance_run(folder).evals, "validation")
        value = found.get(metric)
        if metric not in found:
            raise FlexLoRAError(
                f"{variant.title}: there is no metric {metric!r}. Choose one of: {', '.join(found) or 'none'}."
            )
        values.append(np.nan if value is None else value)
    means = np.reshape(values, (-1, seeds)).mean(axis=1)
    return [None if np.isnan(mean) else float(mean) for mean in means]
