"""SaLoRA, structure-aware low-rank adaptation (Hu et al., Mathematics 11(20):4317, 2023) on the shared adapter.

ΔW = s · P diag(g) Q with one hard-concrete gate g ∈ [0, 1] a direction (Louizos et al. 2018,
https://arxiv.org/abs/1712.01312): u ~ U(0, 1), z = σ((log u − log(1 − u) + log α) / β), g = clamp(z (ζ − γ) + γ, 0, 1).
The expected share of open gates is led to a target by a Lagrange multiplier, in its augmented form. There is no
official code; P starts at zero, as in LoRA.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from flexlora.event import Event
from flexlora.initializers import step_generator, uniform
from flexlora.methods.configs import SaLoRAConfig
from flexlora.methods.lora import attach
from flexlora.methods.masks import MaskedDynamics

if TYPE_CHECKING:
    from flexlora.trained_model import TrainedModel

__all__ = ["attach", "dynamics"]

LOW, HIGH = -0.1, 1.1
"""γ and ζ: the gate is stretched beyond [0, 1] and cut, so that it can be exactly 0 or 1."""


def sampled_gate(log_alpha: Tensor, uniform: Tensor, temperature: float) -> Tensor:
    """Return the gate for uniform noise in (0, 1), elementwise; differentiable in log α."""
    noise = uniform.log() - (1.0 - uniform).log()
    return _stretched(torch.sigmoid((noise + log_alpha) / temperature))


def evaluation_gate(log_alpha: Tensor) -> Tensor:
    """Return the gate without noise, clamp(σ(log α)(ζ − γ) + γ, 0, 1); zero where σ(log α) ≤ −γ / (ζ − γ) = 1/12."""
    return _stretched(torch.sigmoid(log_alpha))


def open_probability(log_alpha: Tensor, temperature: float) -> Tensor:
    """Return P(g > 0) = σ(log α − β log(−γ / ζ)): the expected L0 norm of each gate."""
    return torch.sigmoid(log_alpha - temperature * math.log(-LOW / HIGH))


class SaLoRADynamics(MaskedDynamics[SaLoRAConfig]):
    """Trains log α with the loss, and tells at intervals which gates evaluation finds closed.

    Attributes:
        log_alpha: (matrices, initial_rank).
        multiplier: Lagrange multiplier of the distance to the target, a scalar.
    """

    def __init__(self, trained: TrainedModel) -> None:
        super().__init__(trained)
        config, count = self.config, len(self.adapter.matrices)
        self.log_alpha = nn.Parameter(
            torch.full((count, config.initial_rank), config.initial_log_alpha, device=trained.device)
        )
        self.multiplier = torch.zeros(())
        self._open_for_evaluation()

    def parameter_groups(self, rate: float, lr_lambda: float) -> list[dict[str, Any]]:
        """Add log α at its own learning rate."""
        own = {"params": [self.log_alpha], "peak": self.config.gate_learning_rate, "weight_decay": 0.0}
        return [*super().parameter_groups(rate, lr_lambda), own]

    def parameters(self) -> dict[str, nn.Parameter]:
        """Return log α."""
        return {"log_alpha": self.log_alpha}

    def target_rank(self, step: int) -> float | None:
        """Return how many gates the target wants open, on average over the noise."""
        return self.config.target_share(step) * self.log_alpha.numel()

    def before_step(self, step: int) -> None:
        """Draw the gates of the step."""
        drawn = uniform(self.log_alpha.shape, step_generator(self.config.seed, step, self.config.draws))
        # Neither 0 nor 1, where the noise is infinite.
        drawn = drawn.clamp(1e-6, 1.0 - 1e-6).to(self.log_alpha)
        gates = sampled_gate(self.log_alpha, drawn, self.config.temperature)
        for matrix, gate in zip(self.adapter.matrices.values(), gates, strict=True):
            matrix.gate = gate

    def penalty(self, step: int) -> Tensor | None:
        """Return m · d + ρ/2 · d², d = expected share of open gates − target; None for ρ = 0.

        The multiplier alone swings around the target for hundreds of steps; the square damps it.
        """
        weight = self.config.penalty_weight
        if not weight:
            return None
        distance = self._distance(step)
        return float(self.multiplier) * distance + 0.5 * weight * distance**2

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Raise the multiplier along the distance, and leave the gates of evaluation."""
        self.multiplier += self.config.multiplier_learning_rate * float(self._distance(step))
        self._open_for_evaluation()

    @torch.no_grad()
    def gates(self) -> list[np.ndarray] | None:
        """Return P(g > 0) of the directions that are on, 0 for those that the last event found closed."""
        shares = open_probability(self.log_alpha, self.config.temperature).cpu().numpy()
        return [
            np.where(mask, share, 0.0).astype(np.float32) for mask, share in zip(self.on.values(), shares, strict=True)
        ]

    def event(self, step: int) -> Event:
        """Tell which gates closed since the last event, and which opened again."""
        gates = evaluation_gate(self.log_alpha.detach()).double().cpu().numpy()
        log_alpha = self.log_alpha.detach().double().cpu().numpy()
        on = {name: gate > 0.0 for name, gate in zip(self.on, gates, strict=True)}
        scores = dict(zip(self.on, log_alpha, strict=True))
        return self.declare(step, on, scores, "log_alpha", target=round(self.target_rank(step) or 0))

    @torch.no_grad()
    def finish(self) -> None:
        """Put the gates of evaluation into λ; what is closed leaves its slot."""
        for matrix in self.adapter.matrices.values():
            if matrix.gate is not None:
                matrix.lam.copy_(matrix.gate)
                matrix.gate = None
        super().finish()

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return the masks and the multiplier; log α is kept with the parameters."""
        values, _ = super().state()
        return values, {"multiplier": self.multiplier}

    def restore(self, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Take over what ``state`` returned."""
        super().restore(values, tensors)
        self.multiplier = tensors["multiplier"].clone()
        self._open_for_evaluation()

    def _distance(self, step: int) -> Tensor:
        config = self.config
        return open_probability(self.log_alpha, config.temperature).mean() - config.target_share(step)

    @torch.no_grad()
    def _open_for_evaluation(self) -> None:
        for matrix, gate in zip(self.adapter.matrices.values(), evaluation_gate(self.log_alpha), strict=True):
            matrix.gate = gate


def _stretched(share: Tensor) -> Tensor:
    return (share * (HIGH - LOW) + LOW).clamp(0.0, 1.0)


dynamics = SaLoRADynamics
