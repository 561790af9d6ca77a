"""One result file of PEFT's ``method_comparison`` as a run: ranks from ``rank_pattern``, accuracy and loss over steps.

Producer: ``method_comparison/*/run.py``, github.com/huggingface/peft. AdaLoRA's ``rank_pattern`` has a mask a matrix,
true for a direction that is on in the end; LoRA's has a rank for a pattern of names, which is no rank map.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from analysis.importers.errors import LogImportError
from analysis.importers.history import MAX_RANK, MAX_STEP, RankHistory
from analysis.leaderboard.read import is_result_file, read_json
from analysis.outside import shown

SPLITS = {"valid": "validation", "test": "test"}
"""First word of a measure's key → split; what follows is the measure, such as ``accuracy``."""
FORMAT = "A result file of PEFT's method_comparison has run_info, train_info and meta_info."


def is_peft_result(path: Path) -> bool:
    """Tell whether a file is a result of PEFT's method comparison, from its first characters."""
    return path.is_file() and is_result_file(path)


def read_peft_result(path: Path) -> RankHistory:
    """Read the ranks that AdaLoRA ended with, those it began with, and what was measured on the way.

    Raises:
        LogImportError: no such file, or one without a mask a matrix.
    """
    content = read_json(path)
    config, train = _part(content, "run_info", "peft_config"), _part(content, "run_info", "train_config")
    masks = config.get("rank_pattern")
    if not isinstance(masks, dict) or not masks or not all(isinstance(mask, list) for mask in masks.values()):
        raise LogImportError(
            f"{path.name} has no mask of each matrix: only AdaLoRA's rank_pattern is a rank map. For accuracy, time "
            "and memory see python -m analysis.leaderboard."
        )
    for name, mask in masks.items():
        if not all(isinstance(on, bool) for on in mask) or len(mask) > MAX_RANK:
            raise LogImportError(f"{path.name}: rank_pattern of {shown(name)} is no list of true and false.")
    names = list(masks)
    if not all(name and name.isprintable() for name in names):
        raise LogImportError(f"{path.name}: rank_pattern names a matrix by no printable name.")
    last = train.get("max_steps")
    if not isinstance(last, int) or isinstance(last, bool) or not 2 <= last <= MAX_STEP:
        raise LogImportError(f"{path.name}: max_steps is {shown(last)}; it must be a whole number of steps.")
    start, end = [len(mask) for mask in masks.values()], [sum(mask) for mask in masks.values()]
    steps = _known_steps(config, last)
    metrics = _part(content, "train_info").get("metrics")
    scalars, evals = _measured(metrics if isinstance(metrics, list) else [], last)
    return RankHistory(
        "adalora",
        [path],
        names,
        # Ranks after step t stand in the record of t + 1: the first record has the start, the last the end.
        np.array([step for step, _ in steps], np.int64),
        np.array([end if done else start for _, done in steps], np.int64),
        False,
        scalars=scalars,
        evals=evals,
        notices=[
            f"The file tells ranks at the start, to step {max(step for step, done in steps if not done)}, and at the "
            f"end, from step {min(step for step, done in steps if done)}: what happened between them is not known."
        ],
    )


def _known_steps(config: dict[str, Any], last: int) -> list[tuple[int, bool]]:
    """Return (step, whether ranks are final after it): AdaLoRA prunes between ``tinit`` and ``total_step - tfinal``."""
    first, final, total = (config.get(key) for key in ("tinit", "tfinal", "total_step"))
    known = {0: False, last - 1: True}
    whole = [value for value in (first, final, total) if isinstance(value, int) and not isinstance(value, bool)]
    if len(whole) == 3 and total == last and 0 < whole[0] < last - whole[1] < last - 1:
        known |= {whole[0]: False, last - whole[1]: True}
    return sorted(known.items())


def _measured(
    metrics: list[Any], last: int
) -> tuple[dict[int, dict[str, float]], list[tuple[int, str, dict[str, float]]]]:
    scalars: dict[int, dict[str, float]] = {}
    evals = []
    for row in metrics:
        step = row.get("step") if isinstance(row, dict) else None
        if not isinstance(step, int) or not 0 < step <= last:
            continue
        loss = _number(row.get("train loss"))
        if loss is not None:
            scalars[step] = {"task_loss": loss}
        for key, number in row.items():
            word, _, measure = key.partition(" ")
            value = _number(number)
            if word in SPLITS and measure and value is not None:
                evals.append((step, SPLITS[word], {measure: value}))
    return scalars, sorted(evals, key=lambda found: found[0])


def _number(value: Any) -> float | None:
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if good else None


def _part(content: dict[str, Any], *keys: str) -> dict[str, Any]:
    found: Any = content
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    if not isinstance(found, dict):
        raise LogImportError(f"The file has no {'.'.join(keys)}. {FORMAT}")
    return found
