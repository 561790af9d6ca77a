"""DoRA with dynamic rank (Mao et al., ACL 2024, https://arxiv.org/abs/2405.17357) on the shared adapter.

ΔW = s · Σ λ_i p_i q_iᵀ with λ = 0 and P, Q Kaiming-uniform. Not PEFT's ``use_dora``, which is weight-decomposed LoRA.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from flexlora.adapter import Adapter, attach_directions
from flexlora.initializers import Generator, kaiming_uniform
from flexlora.linear import FlexLoRALinear
from flexlora.methods.configs import DoRADynamicConfig
from flexlora.methods.masks import TargetDynamics

EPSILON = 1e-8
"""Added to ‖ΔW‖_F, as in the paper's score."""


def attach(model: nn.Module, config: DoRADynamicConfig) -> Adapter:
    """Adapt a model with P and Q Kaiming-uniform and λ = 0; the output does not change."""

    def draw(matrix: FlexLoRALinear, generator: Generator) -> None:
        q = kaiming_uniform(matrix.Q.shape, generator)
        # Their B is (out, r): a Kaiming-uniform start takes its second dimension as the fan.
        p = kaiming_uniform(matrix.Pt.shape, generator, fan=matrix.capacity)
        for slot in range(matrix.capacity):
            matrix.fill(slot, p[slot], 0.0, q[slot])

    return attach_directions(model, config, draw)


def component_shares(matrix: FlexLoRALinear) -> Tensor:
    """Return ‖λ_i p_i q_iᵀ‖_F / (‖ΔW‖_F + ε) of each direction, (r,); the fixed scale s cancels.

    A rank-one matrix has norm |λ_i| · ‖p_i‖ · ‖q_i‖, and ‖ΔW‖² = λᵀ (PᵀP ∘ QQᵀ) λ: no product of full size is made.
    """
    P, lam, Q = matrix.directions()
    whole = lam @ ((P.T @ P) * (Q @ Q.T)) @ lam
    return lam.abs() * P.norm(dim=0) * Q.norm(dim=1) / (whole.clamp_min(0.0).sqrt() + EPSILON)


class DoRADynamics(TargetDynamics[DoRADynamicConfig]):
    """Smooths the share of each direction, and switches off the smallest of all matrices together.

    Attributes:
        smoothed: name → moving average of each direction's share (r,).
    """

    measure = "component_share"
    smoothed: dict[str, Tensor]

    def bind(self, optimizer: torch.optim.Optimizer) -> None:
        """Start the moving averages at zero."""
        super().bind(optimizer)
        self.smoothed = {name: torch.zeros_like(matrix.lam) for name, matrix in self.adapter.matrices.items()}

    def penalty(self, step: int) -> Tensor | None:
        """Return the weighted dimensional-equilibrium term: the mean variance of Q's rows and P's columns."""
        weight = self.config.dimension_weight
        if not weight or step > self.config.window_end:
            return None
        matrices = self.adapter.matrices.values()
        spread = [matrix.Q.var(dim=1).mean() + matrix.Pt.var(dim=1).mean() for matrix in matrices]
        return weight * torch.stack(spread).mean()

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Smooth the shares; after the window keep what is off at zero."""
        if step > self.config.window_end:
            self.silence()
            return
        beta = self.config.beta
        for name, matrix in self.adapter.matrices.items():
            self.smoothed[name].mul_(beta).add_(component_shares(matrix), alpha=1.0 - beta)

    def scores(self) -> dict[str, np.ndarray]:
        """Return name → smoothed share of each direction (r,) float64."""
        return {name: own.double().cpu().numpy() for name, own in self.smoothed.items()}

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return the masks and the moving averages."""
        values, _ = super().state()
        return values, {f"smoothed.{name}": own for name, own in self.smoothed.items()}

    @torch.no_grad()
    def restore(self, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Take over what ``state`` returned."""
        super().restore(values, tensors)
        for key, part in self.state()[1].items():
            part.copy_(tensors[key])


dynamics = DoRADynamics
