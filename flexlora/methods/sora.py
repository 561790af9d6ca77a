"""SoRA (Ding et al., EMNLP 2023, https://arxiv.org/abs/2311.11696) on the shared adapter.

ΔW = s · P diag(λ) Q with P = 0, Q Kaiming-uniform and λ ~ N(0, 1), their gate g. After each step of the optimizer comes
the proximal step of the L1 norm, λ ← sign(λ) · max(|λ| − ξ, 0).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from flexlora.adapter import Adapter, attach_directions
from flexlora.event import Event
from flexlora.initializers import Generator, kaiming_uniform, normal
from flexlora.linear import FlexLoRALinear
from flexlora.methods.configs import SoRAConfig
from flexlora.methods.masks import MaskedDynamics


def attach(model: nn.Module, config: SoRAConfig) -> Adapter:
    """Adapt a model with SoRA's start; the output does not change because P = 0."""

    def draw(matrix: FlexLoRALinear, generator: Generator) -> None:
        q = kaiming_uniform(matrix.Q.shape, generator)
        gates = normal(matrix.capacity, generator)
        for slot in range(matrix.capacity):
            matrix.fill(slot, torch.zeros(matrix.out_features), float(gates[slot]), q[slot])

    return attach_directions(model, config, draw)


def soft_threshold(values: Tensor, threshold: float) -> Tensor:
    """Return sign(v) · max(|v| − ξ, 0), elementwise: the proximal step of ξ · ‖v‖₁ (paper, equation 9)."""
    return values.sign() * (values.abs() - threshold).clamp_min(0.0)


class SoRADynamics(MaskedDynamics[SoRAConfig]):
    """Pulls every λ towards zero at every step, and tells at intervals which are at zero."""

    def penalty(self, step: int) -> Tensor | None:
        """Return weight · mean |λ|, the term that their trainer adds to the loss."""
        weight = self.config.sparsity_weight
        if not weight:
            return None
        return weight * torch.cat([matrix.lam for matrix in self.adapter.matrices.values()]).abs().mean()

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Make the proximal step."""
        threshold = self.config.threshold_at(step)
        if threshold:
            for matrix in self.adapter.matrices.values():
                matrix.lam.copy_(soft_threshold(matrix.lam, threshold))

    def event(self, step: int) -> Event:
        """Tell which directions reached zero since the last event, and which left it."""
        scores: dict[str, np.ndarray] = {
            name: np.abs(lam).astype(np.float64) for name, lam in self.adapter.singular_values().items()
        }
        on = {name: magnitude > 0.0 for name, magnitude in scores.items()}
        return self.declare(step, on, scores, "magnitude", threshold=self.config.threshold_at(step))


dynamics = SoRADynamics
