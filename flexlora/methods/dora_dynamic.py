"""DoRA with dynamic rank (Mao et al., ACL 2024, https://arxiv.org/abs/2405.17357) on the shared adapter.

ΔW = s · Σ λ_i p_i q_iᵀ with λ = 0 and P, Q Kaiming-uniform. Not PEFT's ``use_dora``, which is weight-decomposed LoRA.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from flexlora.adapter import Adapter, attach_directions
from flexlora.initializers import Generator, kaiming_uniform
from flexlora.linear import FlexLoRALinear
from flexlora.methods.configs import DoRADynamicConfig
from flexlora.methods.masks import TargetDynamics
from flexlora.smoothing import SmoothedShares

if TYPE_CHECKING:
    from flexlora.trained_model import TrainedModel


def attach(model: nn.Module, config: DoRADynamicConfig) -> Adapter:
    """Adapt a model with P and Q Kaiming-uniform and λ = 0; the output does not change."""

    def draw(matrix: FlexLoRALinear, generator: Generator) -> None:
        q = kaiming_uniform(matrix.Q.shape, generator)
        # Their B is (out, r): a Kaiming-uniform start takes its second dimension as the fan.
        p = kaiming_uniform(matrix.Pt.shape, generator, fan=matrix.capacity)
        for slot in range(matrix.capacity):
            matrix.fill(slot, p[slot], 0.0, q[slot])

    return attach_directions(model, config, draw)


class DoRADynamics(TargetDynamics[DoRADynamicConfig]):
    """Smooths the share of each direction, and switches off the smallest of all matrices together.

    Attributes:
        smoothed: moving average of each direction's share.
    """

    measure = "component_share"

    def __init__(self, trained: TrainedModel) -> None:
        super().__init__(trained)
        self.smoothed = SmoothedShares(self.adapter, self.config.beta)

    def penalty(self, step: int) -> Tensor | None:
        """Return the weighted dimensional-equilibrium term: the mean variance of Q's rows and P's columns."""
        weight = self.config.dimension_weight
        if not weight or step > self.config.window_end:
            return None
        matrices = self.adapter.matrices.values()
        spread = [matrix.Q.var(dim=1).mean() + matrix.Pt.var(dim=1).mean() for matrix in matrices]
        return weight * torch.stack(spread).mean()

    def after_step(self, step: int) -> None:
        """Smooth the shares; after the window keep what is off at zero."""
        if step > self.config.window_end:
            self.silence()
            return
        self.smoothed.update()

    def scores(self) -> dict[str, np.ndarray]:
        """Return name → smoothed share of each direction (r,) float64."""
        return self.smoothed.scores()

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return the masks and the moving averages."""
        return super().state()[0], self.smoothed.tensors()

    def restore(self, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Take over what ``state`` returned."""
        super().restore(values, tensors)
        self.smoothed.restore(tensors)


dynamics = DoRADynamics
