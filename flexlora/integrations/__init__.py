"""FlexLoRA in other people's training loops: plain ones, transformers' Trainer and Lightning's."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flexlora.integrations.checkpoints import last_checkpoint
    from flexlora.integrations.graphed_trainer import GraphedTrainer
    from flexlora.integrations.lightning_callback import FlexLoRALightning
    from flexlora.integrations.recorder import Recorder
    from flexlora.integrations.sharding import Replicated
    from flexlora.integrations.trainer import FlexLoRACallback
    from flexlora.integrations.zero import ZeroOptimizer

__all__ = [
    "FlexLoRACallback",
    "FlexLoRALightning",
    "GraphedTrainer",
    "Recorder",
    "Replicated",
    "ZeroOptimizer",
    "last_checkpoint",
]

_HOMES = {
    "FlexLoRACallback": "flexlora.integrations.trainer",
    "FlexLoRALightning": "flexlora.integrations.lightning_callback",
    "GraphedTrainer": "flexlora.integrations.graphed_trainer",
    "Recorder": "flexlora.integrations.recorder",
    "Replicated": "flexlora.integrations.sharding",
    "ZeroOptimizer": "flexlora.integrations.zero",
    "last_checkpoint": "flexlora.integrations.checkpoints",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'flexlora.integrations' has no attribute {name!r}; it has: {', '.join(__all__)}")
    return getattr(import_module(_HOMES[name]), name)
