"""DyLoRA (Valipour et al., EACL 2023, https://arxiv.org/abs/2210.07558) on the shared adapter.

LoRA whose step uses the first b of r directions with scale alpha / b, b drawn at random, so that directions come to
stand in the order of their worth and the finished adapter can be cut to any rank.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from flexlora.initializers import step_generator, whole
from flexlora.methods.configs import DyLoRAConfig
from flexlora.methods.dynamics import Dynamics
from flexlora.methods.lora import attach

if TYPE_CHECKING:
    from flexlora.trained_model import TrainedModel

__all__ = ["attach", "dynamics"]


class DyLoRADynamics(Dynamics[DyLoRAConfig]):
    """Draws b for each step; ``update = row`` trains direction b alone and leaves those before it as they are."""

    def __init__(self, trained: TrainedModel) -> None:
        super().__init__(trained)
        self._kept: list[tuple[Tensor, Tensor]] = []
        self._length = 0

    def prefix_length(self, step: int) -> int:
        """Return b of a step, uniform in smallest_rank .. initial_rank."""
        config = self.config
        return whole(config.smallest_rank, config.initial_rank, step_generator(config.seed, step, config.draws))

    def before_step(self, step: int) -> None:
        """Cut every matrix to the step's prefix."""
        self._length = self.prefix_length(step)
        self.cut(self._length)
        if self.config.update == "row":
            matrices = self.adapter.matrices.values()
            self._kept = [(m.Pt.detach().clone(), m.Q.detach().clone()) for m in matrices]

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Put back what the step must not train, and evaluate with every direction."""
        for matrix, kept in zip(self.adapter.matrices.values(), self._kept, strict=bool(self._kept)):
            for part, before in zip((matrix.Pt, matrix.Q), kept, strict=True):
                before[self._length - 1] = part[self._length - 1]
                part.copy_(before)
        self._kept = []
        self.cut(self.config.initial_rank)

    def cut(self, length: int) -> None:
        """Use the first ``length`` directions of every matrix, with scale alpha / length."""
        rank = self.config.initial_rank
        for matrix in self.adapter.matrices.values():
            gate = torch.zeros_like(matrix.lam)
            gate[:length] = rank / length
            matrix.gate = None if length == rank else gate

    def gates(self) -> list[np.ndarray] | None:
        """Return the probability that a step's prefix reaches direction i."""
        config = self.config
        if config.smallest_rank == config.initial_rank:
            return None
        place = np.maximum(np.arange(1, config.initial_rank + 1), config.smallest_rank)
        share = (config.initial_rank - place + 1) / (config.initial_rank - config.smallest_rank + 1)
        return [share.astype(np.float32) for _ in self.adapter.matrices]

    def evaluations(self, split: str) -> Mapping[str, float]:
        """Return the metrics at rank 1, 2, 4, ... below the full rank: what the method is for."""
        rank, found = self.config.initial_rank, {}
        lengths = [length for length in (2**power for power in range(10)) if length < rank]
        for length in lengths:
            self.cut(length)
            metrics = self.trained.evaluate(getattr(self.trained.data, split))
            found |= {f"{name}_at_rank_{length}": value for name, value in metrics.items()}
        self.cut(rank)
        return found


dynamics = DyLoRADynamics
