"""FlexLoRA (ICLR 2026): ΔW = s · P diag(λ) Q with λ = 0 and Gaussian P, Q at the start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from flexlora.adapter import attach
from flexlora.allocator import RankAllocator
from flexlora.config import FlexLoRAConfig
from flexlora.decision import Decider
from flexlora.event import Event
from flexlora.methods.dynamics import Dynamics
from flexlora.schedules import ADAPTIVE

if TYPE_CHECKING:
    from flexlora.trained_model import TrainedModel

__all__ = ["attach", "dynamics"]


class FlexLoRADynamics(Dynamics):
    """Hands each event to ``RankAllocator``."""

    def __init__(self, trained: TrainedModel) -> None:
        super().__init__(trained)
        self.allocator: RankAllocator | None = None

    def bind(self, optimizer: torch.optim.Optimizer) -> None:
        """Build the allocator on the optimizer."""
        super().bind(optimizer)
        self.allocator = RankAllocator(self.adapter, self.optimizer, self._config())
        self.allocator.log_all_measures = self.trained.job.loop.log_measures == "all"
        self.allocator.spectra = self.spectra

    def budget(self, step: int) -> int | None:
        """Return b(step); of the adaptive schedule, the most that it may decide."""
        config = self._config()
        if config.schedule == ADAPTIVE and self.allocator is not None:
            return self.allocator.decider.adaptive.ceiling(config.budget(step))
        return config.budget(step)

    def rate_factor(self, step: int) -> float | None:
        """Return 1 once preset ``reference`` has lost the learning-rate schedule."""
        return 1.0 if self._bound().lr_released else None

    def event(self, step: int) -> Event:
        """Prune and extend."""
        allocator = self._bound()
        allocator.config = self._config()
        if allocator.step(step) is None or allocator.last is None:
            raise RuntimeError(f"step {step} was announced as an event and is none")
        return allocator.last

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return the ages of young directions, and what the allocator remembers."""
        allocator = self._bound()
        return {
            "ages": allocator.moves.young.state(self.trained.named_parameters()),
            "decider": allocator.decider.state(),
            "lr_released": allocator.lr_released,
        }, {}

    def restore(self, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Take over what ``state`` returned."""
        allocator = self._bound()
        allocator.moves.young.restore(self.trained.named_parameters(), values["ages"])
        allocator.decider = Decider.restored(values["decider"])
        allocator.lr_released = bool(values["lr_released"])

    def _config(self) -> FlexLoRAConfig:
        return cast(FlexLoRAConfig, self.config)

    def _bound(self) -> RankAllocator:
        if self.allocator is None:
            raise RuntimeError("bind() comes before the first step")
        return self.allocator


dynamics = FlexLoRADynamics
