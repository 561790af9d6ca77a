"""``read_results``: result files of PEFT's ``method_comparison`` as plain values, checked field by field."""

from __future__ import annotations

import json
import math
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


@dataclass(frozen=True)
class Result:
    """One run of one configuration.

    Attributes:
        experiment: its name, such as ``lora/llama-3.2-3B-rank32``.
        peft_type: such as ``LORA``; ``full-finetuning`` without an adapter.
        configuration: what makes two runs reruns of each other: experiment, model and the main settings.
        seed: of the run; None when not told.
        created: when, as in the file.
        accuracy: on the test split.
        costs: key of ``COSTS`` → value; what is not told is missing.
        total_rank: directions in the end by a ``rank_pattern`` of masks; None for others.
        path: the file.
    """

    experiment: str
    peft_type: str
    configuration: tuple[str, ...]
    seed: int | None
    created: str
    accuracy: float
    costs: dict[str, float]
    total_rank: int | None
    path: Path


def read_results(paths: Iterable[str | Path]) -> tuple[list[Result], list[str]]:
    """Read result files; folders are searched, so that several versions of a table may lie in folders of their own.

    The same run in two files counts once.

    Args:
        paths: files, or folders of them.

    Returns:
        The results, by experiment and time, and one line for each file that is left out.

    Raises:
        FlexLoRAError: a path that is not there, or no result in any of them.
    """
    found: dict[tuple[str, str, float], Result] = {}
    notices = []
    for file in _files(paths):
        try:
            result = _result(file)
        except FlexLoRAError as error:
            notices.append(str(error))
            continue
        if isinstance(result, str):
            notices.append(result)
        else:
            found.setdefault((result.experiment, result.created, result.accuracy), result)
    if not found:
        told = f" {notices[0]}" if notices else ""
        raise FlexLoRAError(f"No result of PEFT's method comparison is there.{told}")
    return sorted(found.values(), key=lambda r: (r.experiment, r.created)), notices


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


def _result(path: Path) -> Result | str:
    """Return a result, or why there is none."""
    content = read_json(path)
    info, train = content.get("run_info"), content.get("train_info")
    if not isinstance(info, dict) or not isinstance(train, dict):
        return f"{path.name} is no result: it has no run_info and train_info."
    if train.get("status") != "success":
        return f"{path.name}: status {str(train.get('status'))!r}, left out."
    metrics = train.get("metrics")
    rows = metrics if isinstance(metrics, list) else []
    tested = [row for row in rows if isinstance(row, dict) and "test accuracy" in row]
    accuracy = _number(tested[-1]["test accuracy"]) if tested else None
    if accuracy is None:
        return f"{path.name} has no test accuracy, left out."
    settings, config = _mapping(info.get("train_config")), _mapping(info.get("peft_config"))
    experiment = str(info.get("experiment_name") or path.stem)
    return Result(
        experiment=experiment,
        peft_type=str(config.get("peft_type") or "full-finetuning"),
        configuration=(experiment, *_main_settings(settings, config)),
        seed=settings["seed"] if isinstance(settings.get("seed"), int) else None,
        created=str(info.get("created_at") or ""),
        accuracy=accuracy,
        costs=_costs(content),
        total_rank=_total_rank(config.get("rank_pattern")),
        path=path,
    )


def _main_settings(settings: dict[str, Any], config: dict[str, Any]) -> tuple[str, ...]:
    """Return what was chosen, as text; not what later versions of PEFT added with a default."""
    chosen = [settings.get(key) for key in ("model_id", "max_steps", "batch_size", "optimizer_type", "lr_scheduler")]
    chosen += [_mapping(settings.get("optimizer_kwargs")).get("lr")]
    chosen += [config.get(key) for key in ("peft_type", "r", "init_r", "target_r", "lora_alpha")]
    targets = config.get("target_modules")
    chosen.append(sorted(map(str, targets)) if isinstance(targets, list) else targets)
    return tuple(map(str, chosen))


def _costs(content: dict[str, Any]) -> dict[str, float]:
    found = {}
    for name, (part, keys) in COSTS.items():
        values = [_number(_mapping(content.get(part)).get(key)) for key in keys]
        known = [value for value in values if value is not None and value >= 0]
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
