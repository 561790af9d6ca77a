"""FlexLoRA: rank allocation by spectral entropy, with every decision logged.

The names below are imported on first use, so that ``import flexlora`` never loads torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flexlora.adapter import attach
    from flexlora.allocator import RankAllocator
    from flexlora.config import FlexLoRAConfig

__all__ = ["FlexLoRAConfig", "RankAllocator", "attach"]

_HOMES = {"FlexLoRAConfig": "flexlora.config", "RankAllocator": "flexlora.allocator", "attach": "flexlora.adapter"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'flexlora' has no attribute {name!r}; it has: {', '.join(__all__)}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
