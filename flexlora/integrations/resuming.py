"""From where a training begins: schedule and optimizer of a checkpoint."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from transformers import TrainerState

from flexlora.adapter import Adapter, matrix_parameters
from flexlora.config import FlexLoRAConfig
from flexlora.errors import FlexLoRAError, FlexLoRAWarning
from flexlora.integrations.agreement import digest, digest_base, digest_beside
from flexlora.integrations.recorder import check_settings
from flexlora.optimizer_state import check_same_optimizer
from flexlora.state_rows import fit_state


def about_checkpoint(adapter: Adapter, optimizer: Optimizer, folder: Path | None) -> dict[str, Any]:
    """Return by what a checkpoint is known again, as JSON values."""
    return {
        "digest": digest(adapter),
        "beside": digest_beside(adapter),
        "base": digest_base(adapter),
        "moments": _moments(adapter, optimizer),
        "capacities": [matrix.capacity for matrix in adapter.matrices.values()],
        "folder": None if folder is None else folder.name,
    }


def kept_state(state: TrainerState, key: str) -> Mapping[str, Any]:
    """Return what the checkpoint that the Trainer resumes from kept under ``key``.

    Raises:
        FlexLoRAError: nothing.
    """
    found: Any = (state.stateful_callbacks or {}).get(key)  # type: ignore[attr-defined]
    kept = found.get("attributes") if isinstance(found, Mapping) else None
    if not kept:
        raise FlexLoRAError(
            f"The checkpoint of step {state.global_step} was not written with a FlexLoRACallback. Resume from one "
            "that was, or start anew."
        )
    return kept


def scheduled(config: FlexLoRAConfig, last: int, kept: Mapping[str, Any]) -> FlexLoRAConfig:
    """Return the configuration with the steps of its schedule: its own, those that the run began with, or ``last``."""
    if config.total_steps is None:
        config = config.replace(total_steps=kept.get("config", {}).get("total_steps") or last)
    total = config.total_steps or last
    if kept and last != total:
        beyond = f"no rank moves in steps {total + 1} to {last}" if last > total else f"training ends at step {last}"
        _warn(
            f"The schedule stays that of the {total} steps which the run began with: {beyond}. For one of {last} "
            "steps, start anew."
        )
    elif last != total:
        _warn(
            f"FlexLoRAConfig has total_steps={total}, the Trainer makes {last} steps: the schedule does not fit the "
            "run. Leave total_steps out to take the Trainer's."
        )
    if config.initial_budget and not any(t <= last for t in config.event_steps()):
        _warn(f"No event is due in steps 1 to {last}: no rank will move.")
    return config


def check_checkpoint(
    adapter: Adapter, optimizer: Optimizer, schedule: Any, config: FlexLoRAConfig, step: int, kept: Mapping[str, Any]
) -> None:
    """Refuse a checkpoint from which nothing goes on as it was, before its log is touched; fit its optimizer's state.

    ``schedule`` is that of the learning rate.

    Raises:
        FlexLoRAError: the adapter was not loaded, there is no optimizer, or the settings are others.
    """
    if digest(adapter) != kept["digest"]:
        raise FlexLoRAError(
            f"The Trainer did not load the adapter of the checkpoint of step {step}: its weights lie "
            "under other names or are damaged. Resume from another checkpoint, or start anew."
        )
    check_beside(adapter, step, kept)
    check_base(adapter, step, kept)
    lost = (kept.get("moments") or kept["ages"]) and not _moments(adapter, optimizer)
    schedule = getattr(schedule, "scheduler", schedule)
    if lost or (isinstance(schedule, LambdaLR) and not schedule.last_epoch):
        raise FlexLoRAError(
            f"The checkpoint of step {step} holds no optimizer, as with save_only_model=True: nothing goes on as it "
            "was from it. Save without save_only_model, or start anew."
        )
    check_settings(config, kept)
    check_same_optimizer(optimizer, kept.get("optimizer"))
    # An adapter that has grown since, in this very process, keeps its room.
    sizes = zip(adapter.matrices.values(), kept.get("capacities", ()), strict=False)
    fit_state(optimizer, {part: size for matrix, size in sizes for part in matrix_parameters(matrix)})


def check_beside(adapter: Adapter, step: int, kept: Mapping[str, Any]) -> None:
    """Refuse a checkpoint without the head, or what else is trained, as it was; an earlier version kept no hash of it.

    Raises:
        FlexLoRAError: other values are trained now than there were, or they were not loaded.
    """
    wanted, found = kept.get("beside"), digest_beside(adapter)
    if wanted and found and wanted != found:
        raise FlexLoRAError(
            f"What is trained beside the adapter is not what the checkpoint of step {step} was made with, such as "
            f"{next(iter(adapter.head), 'nothing')}: unfreeze the same parameters before training as then, or start "
            "anew."
        )


def check_base(adapter: Adapter, step: int, kept: Mapping[str, Any]) -> None:
    """Warn where a checkpoint of the adapter alone is loaded into another base model than it was trained beside."""
    wanted, found = kept.get("base"), digest_base(adapter)
    if wanted and found and wanted != found:
        _warn(
            f"The frozen weights are not those that the checkpoint of step {step} was made beside: another base model, "
            "another type, or one from its configuration with another seed. Checkpoints hold what is trained; load the "
            "same base, or what is resumed is another run."
        )


def _moments(adapter: Adapter, optimizer: Optimizer) -> int:
    """Return how many of the adapter's tensors the optimizer keeps something of."""
    return sum(bool(optimizer.state.get(parameter)) for parameter in adapter.parameters())


def _warn(message: str) -> None:
    warnings.warn(message, FlexLoRAWarning, stacklevel=4)
