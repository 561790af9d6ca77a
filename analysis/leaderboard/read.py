"""``read_results``: result files of PEFT's ``method_comparison`` as plain values, checked field by field."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flexlora.errors import FlexLoRAError

MAX_BYTES = 64 << 20
MAX_FILES = 20_000
COSTS = {
    "memory_bytes": ("train_info", ("accelerator_memory_max", "cuda_memory_max")),
    "train_s": ("train_info", ("train_time",)),
    "file_bytes": ("train_info", ("file_size",)),
    "parameters": ("train_info", ("num_trainable_params",)),
}
"""What a configuration costs → where it stands; the newer name first."""
NOT_SAVED = 99_999_999
"""``file_size`` where their loop could not save the adapter."""
NOT_CHOSEN = {
    *("seed", "eval_steps", "batch_size_eval", "logging_steps", "save_steps", "save_total_limit", "save_checkpoint"),
    *("device", "threads", "eval_interval", "eval_samples", "log_measures", "spectrum_interval"),
    *("checkpoint_interval_s", "save_adapter"),
    *("task_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision", "inference_mode"),
}
"""Keys of ``train_config``, ``peft_config`` and our export's ``flexlora`` in which reruns may differ."""
OUTCOMES = ("rank_pattern", "alpha_pattern", "target_modules")
"""Keys of ``peft_config`` that our export fills with what training ended with."""


@dataclass(frozen=True)
class Result:
    """One run of one configuration.

    Attributes:
        experiment: its name, such as ``lora/llama-3.2-3B-rank32``.
        peft_type: such as ``LORA``; ``full-finetuning`` without an adapter.
        settings: what was chosen, as text, such as ``optimizer_kwargs.lr``: reruns agree in all that both of them tell.
        seed: of the run; None when not told.
        created: when, as in the file.
        measure: what the test measured: ``accuracy``, ``dino_similarity`` (image-gen) or ``pass_at_1`` (RLMath).
        score: its value; more is better.
        costs: key of ``COSTS`` → value; what is not told is missing.
        total_rank: directions in the end by a ``rank_pattern`` of masks; None for others.
        path: the file.
    """

    experiment: str
    peft_type: str
    settings: dict[str, str]
    seed: int | None
    created: str
    measure: str
    score: float
    costs: dict[str, float]
    total_rank: int | None
    path: Path


def read_results(paths: Iterable[str | Path]) -> tuple[list[Result], list[str]]:
    """Read result files; folders are searched, so that several versions of a table may lie in folders of their own.

    The same run in two files counts once. Of files with different measures those with the commonest are read.

    Args:
        paths: files, or folders of them.

    Returns:
        The results, by experiment and time, and what is left out: a line a file, one for all that are no results.

    Raises:
        FlexLoRAError: a path that is not there, or no result in any of them.
    """
    found: dict[tuple[str, str, int | None, float], Result] = {}
    notices, foreign = [], []
    for file in _files(paths):
        try:
            result = _result(file)
        except FlexLoRAError as error:
            notices.append(str(error))
            continue
        if result is None:
            foreign.append(file.name)
        elif isinstance(result, str):
            notices.append(result)
        else:
            key = (result.experiment, result.created, result.seed, 0.0 if result.created else result.score)
            first = found.setdefault(key, result)
            if first.score != result.score:
                notices.append(f"{file.name} is the run of {first.path} with another result, left out.")
    if foreign:
        more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
        notices.append(f"{foreign[0]}{more}: no result, for there is no run_info and train_info.")
    if not found:
        told = f" {notices[0]}" if notices else ""
        raise FlexLoRAError(f"No result of PEFT's method comparison is there.{told}")
    counts = Counter(result.measure for result in found.values())
    measure, _ = counts.most_common(1)[0]
    for other in sorted(set(counts) - {measure}):
        notices.append(f"{counts[other]} tested by {other}, not by {measure}, left out: give them alone.")
    kept = [result for result in found.values() if result.measure == measure]
    return sorted(kept, key=lambda r: (r.experiment, r.created)), notices


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a file.

    Raises:
        FlexLoRAError: too large, unreadable or no JSON object.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise FlexLoRAError(f"{path.name} has {size >> 20} MiB; at most {MAX_BYTES >> 20} MiB are read.")
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise FlexLoRAError(f"{path.name} cannot be read: {' '.join(str(error).split())}.") from error
    if not isinstance(content, dict):
        raise FlexLoRAError(f"{path.name} holds no JSON object.")
    return content


def is_result_file(path: Path) -> bool:
    """Tell whether a file begins as a result does; it is not read as a whole."""
    with path.open("rb") as file:
        start = file.read(4096)
    return start.lstrip().startswith(b"{") and b'"run_info"' in start and path.suffix == ".json"


def _files(paths: Iterable[str | Path]) -> list[Path]:
    files: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            files += sorted(path.rglob("*.json"))
        elif path.is_file():
            files.append(path)
        else:
            raise FlexLoRAError(f"{path} is not there.")
    if len(files) > MAX_FILES:
        raise FlexLoRAError(f"{len(files):,} files; at most {MAX_FILES:,} are read. Give the folder of the results.")
    return files


def _result(path: Path) -> Result | str | None:
    """Return a result, or why there is none; None where the file is something else."""
    content = read_json(path)
    info, train = content.get("run_info"), content.get("train_info")
    if not isinstance(info, dict) or not isinstance(train, dict):
        return None
    if train.get("status") != "success":
        return f"{path.name}: status {str(train.get('status'))!r}, left out."
    tested = _tested(content)
    if tested is None:
        return f"{path.name} has no test result, left out."
    settings, config = _mapping(info.get("train_config")), _mapping(info.get("peft_config"))
    experiment = str(info.get("experiment_name") or path.stem)
    return Result(
        experiment=experiment,
        peft_type=str(config.get("peft_type") or "full-finetuning"),
        settings=_settings(settings, config),
        seed=settings["seed"] if isinstance(settings.get("seed"), int) else None,
        created=str(info.get("created_at") or ""),
        measure=tested[0],
        score=tested[1],
        costs=_costs(content),
        total_rank=_total_rank(config.get("rank_pattern")),
        path=path,
    )


def _tested(content: dict[str, Any]) -> tuple[str, float] | None:
    """Return (measure, value) of the last test: in the log, or in RLMath's evaluation of its own."""
    metrics = _mapping(content.get("train_info")).get("metrics")
    rows = [row for row in metrics if isinstance(row, dict)] if isinstance(metrics, list) else []
    for row in [*reversed(rows), _mapping(content.get("rl_eval_info"))]:
        for key, value in row.items():
            if key.startswith(("test ", "test_")):
                number = _number(value)
                return None if number is None else (key[5:], number)
    return None


def _settings(settings: dict[str, Any], config: dict[str, Any]) -> dict[str, str]:
    """Return what was chosen; not what training ended with."""
    masks = _total_rank(config.get("rank_pattern")) is not None
    ended = OUTCOMES if "flexlora" in config else ("rank_pattern",) if masks else ()
    return _flat(settings) | _flat({key: value for key, value in config.items() if key not in ended})


def _flat(values: dict[str, Any], above: str = "") -> dict[str, str]:
    found = {}
    for key, value in values.items():
        if key in NOT_CHOSEN:
            continue
        if isinstance(value, dict):
            found |= _flat(value, f"{above}{key}.")
        else:
            # Sets of names, as target_modules, are written in any order.
            named = isinstance(value, list) and all(isinstance(one, str) for one in value)
            found[f"{above}{key}"] = str(sorted(value) if named else value)
    return found


def _costs(content: dict[str, Any]) -> dict[str, float]:
    found = {}
    for name, (part, keys) in COSTS.items():
        values = [_number(_mapping(content.get(part)).get(key)) for key in keys]
        known = [value for value in values if value is not None and value >= 0]
        if name == "file_bytes" and known == [NOT_SAVED]:
            continue
        if known:
            found[name] = known[0]
    return found


def _total_rank(pattern: Any) -> int | None:
    masks: Sequence[Any] = list(pattern.values()) if isinstance(pattern, dict) else []
    if not masks or not all(isinstance(mask, list) for mask in masks):
        return None
    return sum(sum(on is True for on in mask) for mask in masks)


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: Any) -> float | None:
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if good else None
