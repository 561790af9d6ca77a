"""AdaLoRA (Zhang et al., ICLR 2023, https://openreview.net/forum?id=lq62uWRJjiY) on the shared adapter.

ΔW = s · P diag(λ) Q with λ = 0 and P, Q ~ N(0, 0.02²). Agrees with PEFT's AdaLoRA event by event, which settles
what the paper leaves open: the order of update and mask, the threshold at ties, and that the last mask stays.
"""

# torch's own optimizers are built on the _foreach functions; it does not declare them.
# pyright: reportPrivateImportUsage=false
from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from flexlora.adapter import Adapter, attach_directions, matrix_parameters
from flexlora.event import Event
from flexlora.initializers import gaussian
from flexlora.linear import FlexLoRALinear
from flexlora.methods.configs import AdaLoRAConfig
from flexlora.methods.masks import MaskedDynamics
from flexlora.rank_targets import keep_best

if TYPE_CHECKING:
    from flexlora.session import Session

KEYS = ("Pt", "lam", "Q")


def attach(model: nn.Module, config: AdaLoRAConfig) -> Adapter:
    """Adapt a model with AdaLoRA's start; the output does not change."""

    def draw(matrix: FlexLoRALinear, generator: torch.Generator) -> None:
        for slot in range(config.initial_rank):
            p = gaussian(matrix.out_features, config.initial_std, generator)
            matrix.fill(slot, p, 0.0, gaussian(matrix.in_features, config.initial_std, generator))

    return attach_directions(model, config, draw)


class AdaLoRADynamics(MaskedDynamics):
    """Scores single values, sums them to directions, and switches off the lowest of all matrices together.

    Attributes:
        sensitivity: name → Ī of P, λ and Q: moving averages of |w · ∂L/∂w| (paper, equation 9).
        uncertainty: name → Ū: moving averages of |I − Ī| (equation 10).
    """

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.sensitivity: dict[str, list[Tensor]] = {}
        self.uncertainty: dict[str, list[Tensor]] = {}

    def target_rank(self, step: int) -> float | None:
        """Return AdaLoRA's budget b(step)."""
        return self._config().target_total(step, len(self.adapter.matrices))

    def bind(self) -> None:
        """Start the moving averages at zero."""
        for name, matrix in self.adapter.matrices.items():
            self.sensitivity[name] = [torch.zeros_like(part) for part in matrix_parameters(matrix)]
            self.uncertainty[name] = [torch.zeros_like(part) for part in matrix_parameters(matrix)]

    def after_step(self, step: int) -> None:
        """Smooth the sensitivities until the window ends; from then on keep what is off at zero."""
        _, _, total, final = self._config().window()
        if step < total - final:
            self._smooth()
        elif step > total - final:
            self.silence()

    def event(self, step: int) -> Event:
        """Switch off all but the b(step) directions with the highest scores."""
        scores = self.scores()
        target = self._config().target_total(step, len(self.adapter.matrices))
        masks, threshold = keep_best(list(scores.values()), target)
        on = dict(zip(scores, masks, strict=True))
        event = self.declare(step, on, scores, "sensitivity_times_uncertainty", target, threshold)
        self.silence()
        return event

    @torch.no_grad()
    def scores(self) -> dict[str, np.ndarray]:
        """Return name → score of each direction (r,) float64: s(λ_i) + mean_j s(P_ji) + mean_j s(Q_ij), s = Ī · Ū."""
        found = {}
        for name in self.adapter.matrices:
            p, lam, q = (a * b for a, b in zip(self.sensitivity[name], self.uncertainty[name], strict=True))
            found[name] = (lam + (q.mean(dim=1) + p.mean(dim=1))).double().cpu().numpy()
        return found

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return the masks and the moving averages."""
        values, _ = super().state()
        averages = {"sensitivity": self.sensitivity, "uncertainty": self.uncertainty}
        tensors = {
            f"{kind}.{name}.{key}": part
            for kind, by_name in averages.items()
            for name, parts in by_name.items()
            for key, part in zip(KEYS, parts, strict=True)
        }
        return values, tensors

    @torch.no_grad()
    def restore(self, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Take over what ``state`` returned."""
        super().restore(values, tensors)
        for key, part in self.state()[1].items():
            part.copy_(tensors[key])

    @torch.no_grad()
    def _smooth(self) -> None:
        beta1, beta2 = self._config().beta1, self._config().beta2
        parts: list[Tensor] = [p for matrix in self.adapter.matrices.values() for p in matrix_parameters(matrix)]
        gradients = [torch.zeros_like(part) if part.grad is None else part.grad for part in parts]
        means = [mean for own in self.sensitivity.values() for mean in own]
        spreads = [spread for own in self.uncertainty.values() for spread in own]
        # All tensors in one call each: on an accelerator the launches are what costs.
        now = torch._foreach_mul(parts, gradients)
        torch._foreach_abs_(now)
        torch._foreach_mul_(means, beta1)
        torch._foreach_add_(means, now, alpha=1.0 - beta1)
        torch._foreach_sub_(now, means)
        torch._foreach_abs_(now)
        torch._foreach_mul_(spreads, beta2)
        torch._foreach_add_(spreads, now, alpha=1.0 - beta2)

    def _config(self) -> AdaLoRAConfig:
        return cast(AdaLoRAConfig, self.config)


dynamics = AdaLoRADynamics
