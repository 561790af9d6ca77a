"""L1RA (Singh et al. 2025, https://github.com/raul-singh/L1RA) on the shared adapter.

ΔW = s · P diag(λ) Q with P = 0, Q ~ N(0, 1/r²) and λ = 1, their c, held in [0, 1] at a learning rate of its own. Each
step pulls every λ towards 0; at an event what is at 0 is pruned, and the matrices that lost nothing get as many
directions, in turn, those with the largest smallest λ first.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from flexlora.adapter import Adapter, attach_directions
from flexlora.choices import at_zero
from flexlora.event import Event
from flexlora.importance import SCORED_BY_LAMBDA, score_all
from flexlora.initializers import Generator, gaussian, zero_p
from flexlora.linear import FlexLoRALinear
from flexlora.methods.configs import L1RAConfig
from flexlora.methods.moving import MovingDynamics


def attach(model: nn.Module, config: L1RAConfig) -> Adapter:
    """Adapt a model with L1RA's start, and room to grow; the output does not change because P = 0."""

    def draw(matrix: FlexLoRALinear, generator: Generator) -> None:
        for slot in range(config.initial_rank):
            q = gaussian(matrix.in_features, 1.0 / config.initial_rank, generator)
            matrix.fill(slot, torch.zeros(matrix.out_features), 1.0, q)

    return attach_directions(model, config, draw, 2 * config.initial_rank)


class L1RADynamics(MovingDynamics[L1RAConfig]):
    """Pulls at every step, moves at events."""

    def parameter_groups(self, rate: float, lr_lambda: float) -> list[dict[str, Any]]:
        """Give λ its own learning rate, which ``before_step`` keeps constant."""
        vectors, values = super().parameter_groups(rate, lr_lambda)
        return [vectors, {**values, "peak": self.config.value_learning_rate, "constant": True}]

    def before_step(self, step: int) -> None:
        """Undo the schedule for λ."""
        for group in self.optimizer.param_groups:
            if group.get("constant"):
                group["lr"] = group["peak"]

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Pull every λ towards 0 and hold it in [0, 1]."""
        for matrix in self.adapter.matrices.values():
            matrix.lam.sub_(self.config.pull or 0.0).clamp_(0.0, 1.0)

    def event(self, step: int) -> Event:
        """Prune what is at 0, extend in turn the matrices that lost nothing."""
        config, moves = self.config, self.moves
        lam = {name: own.astype(np.float64) for name, own in self.adapter.singular_values().items()}
        slots = {name: list(matrix.slots) for name, matrix in self.adapter.matrices.items()}
        low, receivers = at_zero(lam, self.adapter.limits(), config.prune_below)
        prune = [moves.prune(name, slots[name][place]) for name, place in low]
        extend = [
            moves.extend(name, zero_p, 1.0 / config.initial_rank, config.seed + number, step)
            for number, name in enumerate(receivers)
        ]
        self.spectra.forget()
        return Event(
            step=step,
            budget=len(low),
            measure="smallest_value",
            importance={
                **score_all(lam, SCORED_BY_LAMBDA),
                "smallest_value": {name: float(own.min()) for name, own in lam.items()},
            },
            prune=prune,
            extend=extend,
            rules=sorted({rule for move in extend for rule in move["rules"]}),
            threshold=config.prune_below,
        )


dynamics = L1RADynamics
