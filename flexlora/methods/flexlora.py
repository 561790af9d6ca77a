"""FlexLoRA (ICLR 2026): ΔW = s · P diag(λ) Q with λ = 0 and Gaussian P, Q at the start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from flexlora.adapter import attach
from flexlora.allocator import RankAllocator
from flexlora.config import FlexLoRAConfig
from flexlora.decision import Decider
from flexlora.event import Event
from flexlora.methods.dynamics import Dynamics
from flexlora.optimizer_state import YoungDirections

__all__ = ["attach", "dynamics"]


class FlexLoRADynamics(Dynamics[FlexLoRAConfig]):
    """Hands each event to ``RankAllocator``."""

    allocator: RankAllocator

    def bind(self, optimizer: torch.optim.Optimizer) -> None:
        """Build the allocator on the optimizer."""
        super().bind(optimizer)
        self.allocator = RankAllocator(self.adapter, self.optimizer, self.config)
        self.allocator.log_all_measures = self.trained.job.loop.log_measures == "all"
        self.allocator.spectra = self.spectra
        self.allocator.truth = self.trained.data.info.get("true_ranks")

    @property
    def young(self) -> YoungDirections:
        """Ages of the allocator's new directions."""
        return self.allocator.moves.young

    def budget(self, step: int) -> int | None:
        """Return b(step); of the adaptive schedule, the most that it may decide."""
        return self.allocator.decider.ceiling(step, self.config)

    def rate_factor(self, step: int) -> float | None:
        """Return 1 once preset ``reference`` has lost the learning-rate schedule."""
        return 1.0 if self.allocator.lr_released else None

    def after_step(self, step: int) -> None:
        """Smooth what the policy wants to see over time, as long as it may still move something."""
        if step <= self.config.window_end:
            self.allocator.watch(step)

    def event(self, step: int) -> Event:
        """Prune and extend."""
        allocator = self.allocator
        allocator.config = self.config
        if allocator.step(step) is None or allocator.last is None:
            raise RuntimeError(f"step {step} was announced as an event and is none")
        return allocator.last

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return the ages of young directions, and what the allocator remembers."""
        allocator = self.allocator
        return {
            "ages": allocator.moves.young.state(self.trained.named_parameters()),
            "decider": allocator.decider.state(),
            "lr_released": allocator.lr_released,
        }, {f"{key}.{name}": part for key, kept in allocator.smoothed.items() for name, part in kept.tensors().items()}

    def restore(self, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Take over what ``state`` returned."""
        allocator = self.allocator
        allocator.moves.young.restore(self.trained.named_parameters(), values["ages"])
        allocator.decider = Decider.restored(values["decider"])
        allocator.lr_released = bool(values["lr_released"])
        for key, kept in allocator.smoothed.items():
            kept.restore({name.removeprefix(f"{key}."): part for name, part in tensors.items()})


dynamics = FlexLoRADynamics
