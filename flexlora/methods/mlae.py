"""MLAE, masked LoRA experts (Wang et al. 2024, https://arxiv.org/abs/2405.18897) on the shared adapter.

ΔW = s · Σ λ̃_i p_i q_iᵀ with λ trained from 1 and λ̃ = dropout(λ): a direction, their expert, is left out of a training
step with probability ``drop`` and the others are divided by 1 − drop.
"""

from __future__ import annotations

import numpy as np
from torch import nn

from flexlora.adapter import Adapter, attach_directions
from flexlora.adapter_config import AdapterConfig
from flexlora.initializers import step_generator, uniform
from flexlora.methods.configs import MLAEConfig
from flexlora.methods.dynamics import Dynamics
from flexlora.methods.lora import start


def attach(model: nn.Module, config: AdapterConfig) -> Adapter:
    """Adapt a model with LoRA's start, and λ trained; the output does not change."""
    return attach_directions(model, config, start)


class MLAEDynamics(Dynamics[MLAEConfig]):
    """Draws one mask a step for the whole batch, their stochastic masking."""

    def before_step(self, step: int) -> None:
        """Leave directions out."""
        drop = self.config.drop
        if not drop:
            return
        generator = step_generator(self.config.seed, step, self.config.draws)
        for matrix in self.adapter.matrices.values():
            kept = uniform((matrix.capacity,), generator) >= drop
            matrix.gate = (kept / (1.0 - drop)).to(matrix.lam)

    def after_step(self, step: int) -> None:
        """Evaluate with every direction."""
        for matrix in self.adapter.matrices.values():
            matrix.gate = None

    def gates(self) -> list[np.ndarray] | None:
        """Return the probability that a step uses a direction, 1 − drop."""
        keep = 1.0 - self.config.drop
        if keep == 1.0:
            return None
        return [np.full(matrix.rank, keep, np.float32) for matrix in self.adapter.matrices.values()]


dynamics = MLAEDynamics
