"""DeepSpeed under the Trainer: which settings of it can be followed, and the optimizer that is."""

from __future__ import annotations

from typing import Any

from torch.optim import Optimizer
from transformers import TrainingArguments

from flexlora.adapter import Adapter
from flexlora.errors import FlexLoRAError
from flexlora.integrations.zero import INSTEAD, ZeroOptimizer


def by_deepspeed(args: TrainingArguments) -> bool:
    """Tell whether DeepSpeed makes the steps, by these arguments or by accelerate's configuration."""
    return getattr(args, "deepspeed_plugin", None) is not None


def check_deepspeed(args: TrainingArguments) -> None:
    """Refuse settings of DeepSpeed that cannot be followed, before anything is trained; without DeepSpeed, nothing.

    Raises:
        FlexLoRAError: which one, and what to use.
    """
    plugin: Any = getattr(args, "deepspeed_plugin", None)
    if plugin is None:
        return
    config = plugin.hf_ds_config
    stage = config.get_value("zero_optimization.stage", 0)
    if stage not in (1, 2):
        raise FlexLoRAError(f"FlexLoRA follows ZeRO 1 and 2, and this configuration has stage {stage}: {INSTEAD}.")
    device = config.get_value("zero_optimization.offload_optimizer.device", "none")
    if device not in (None, "none"):
        raise FlexLoRAError(f"ZeRO's offload to {device} keeps what is trained on another device: {INSTEAD}.")
    if config.get_value("fp16.enabled", False) is True:
        raise FlexLoRAError(f"fp16 under ZeRO skips steps, which no event can follow: {INSTEAD}.")


def zero_of(adapter: Adapter, optimizer: Any) -> ZeroOptimizer:
    """Return what stands for the ZeRO optimizer that accelerate prepared.

    Raises:
        FlexLoRAError: weight decay would pull at P, λ and Q.
    """
    while isinstance(optimizer, Optimizer):
        optimizer = optimizer.optimizer  # pyright: ignore[reportAttributeAccessIssue]
    zero = ZeroOptimizer(adapter, optimizer)
    if zero.decayed():
        zero.detach()
        raise FlexLoRAError(
            "Weight decay shrinks P, λ and Q, and ZeRO's partitions know one decay for all that is in a group: set "
            "weight_decay=0, or give the Trainer an optimizer in which adapter.parameters() are a group without it."
        )
    return zero
