"""AdaLoRA's score of a direction: smoothed sensitivity times its uncertainty, for AdaLoRA and ElaLoRA."""

# torch's own optimizers are built on the _foreach functions; it does not declare them.
# pyright: reportPrivateImportUsage=false
from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from flexlora.adapter import Adapter, matrix_parameters
from flexlora.methods.configs import AdaLoRAConfig, ElaLoRAConfig
from flexlora.methods.dynamics import Dynamics

if TYPE_CHECKING:
    from flexlora.trained_model import TrainedModel

Smoothing = TypeVar("Smoothing", AdaLoRAConfig, ElaLoRAConfig)

KEYS = ("Pt", "lam", "Q")


class SmoothedSensitivity:
    """Moving averages over every value of P, λ and Q (Zhang et al. 2023, equations 8 to 11).

    I = |w · ∂L/∂w|, Ī ← β1 Ī + (1 − β1) I, Ū ← β2 Ū + (1 − β2) |I − Ī|, s(w) = Ī · Ū.

    Attributes:
        sensitivity: name → Ī of P (transposed), λ and Q.
        uncertainty: name → Ū of the same.
    """

    def __init__(self, adapter: Adapter, beta1: float, beta2: float) -> None:
        self.adapter, self.beta1, self.beta2 = adapter, beta1, beta2
        self.sensitivity: dict[str, list[Tensor]] = {}
        self.uncertainty: dict[str, list[Tensor]] = {}
        for name, matrix in adapter.matrices.items():
            self.sensitivity[name] = [torch.zeros_like(part) for part in matrix_parameters(matrix)]
            self.uncertainty[name] = [torch.zeros_like(part) for part in matrix_parameters(matrix)]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the values and gradients as they are now."""
        parts: list[Tensor] = [p for matrix in self.adapter.matrices.values() for p in matrix_parameters(matrix)]
        gradients = [torch.zeros_like(part) if part.grad is None else part.grad for part in parts]
        means = [mean for own in self.sensitivity.values() for mean in own]
        spreads = [spread for own in self.uncertainty.values() for spread in own]
        # All tensors in one call each: on an accelerator the launches are what costs.
        now = torch._foreach_mul(parts, gradients)
        torch._foreach_abs_(now)
        torch._foreach_mul_(means, self.beta1)
        torch._foreach_add_(means, now, alpha=1.0 - self.beta1)
        torch._foreach_sub_(now, means)
        torch._foreach_abs_(now)
        torch._foreach_mul_(spreads, self.beta2)
        torch._foreach_add_(spreads, now, alpha=1.0 - self.beta2)

    @torch.no_grad()
    def scores(self) -> dict[str, np.ndarray]:
        """Return name → score of each active direction (r,) float64: s(λ_i) + mean_j s(P_ji) + mean_j s(Q_ij)."""
        found = {}
        for name, matrix in self.adapter.matrices.items():
            p, lam, q = (a * b for a, b in zip(self.sensitivity[name], self.uncertainty[name], strict=True))
            found[name] = (lam + (q.mean(dim=1) + p.mean(dim=1)))[matrix.slots].double().cpu().numpy()
        return found

    @torch.no_grad()
    def forget(self, name: str, slot: int) -> None:
        """Start a slot anew; follow a matrix whose storage has grown."""
        parts = matrix_parameters(self.adapter.matrices[name])
        for averages in (self.sensitivity[name], self.uncertainty[name]):
            for index, part in enumerate(parts):
                if averages[index].shape != part.shape:
                    grown = torch.zeros_like(part)
                    grown[: len(averages[index])] = averages[index]
                    averages[index] = grown
                averages[index][slot] = 0.0

    def tensors(self) -> dict[str, Tensor]:
        """Return every average by a stable name."""
        kinds = {"sensitivity": self.sensitivity, "uncertainty": self.uncertainty}
        return {
            f"{kind}.{name}.{key}": part
            for kind, by_name in kinds.items()
            for name, parts in by_name.items()
            for key, part in zip(KEYS, parts, strict=True)
        }

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what ``tensors`` returned."""
        for kind, by_name in (("sensitivity", self.sensitivity), ("uncertainty", self.uncertainty)):
            for name, parts in by_name.items():
                like = parts[0]
                by_name[name] = [tensors[f"{kind}.{name}.{key}"].to(like.device).clone() for key in KEYS]


class SensitivityDynamics(Dynamics[Smoothing]):
    """Keeps the moving averages in step with training.

    Attributes:
        smoothed: moving averages of each value's sensitivity and of its uncertainty.
    """

    def __init__(self, trained: TrainedModel) -> None:
        super().__init__(trained)
        self.smoothed = SmoothedSensitivity(self.adapter, self.config.beta1, self.config.beta2)

    def after_step(self, step: int) -> None:
        """Smooth the sensitivities until the window ends."""
        if step < self.config.window_end:
            self.smoothed.update()

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return the method's own values and the moving averages."""
        return super().state()[0], self.smoothed.tensors()

    def restore(self, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Take over what ``state`` returned."""
        super().restore(values, tensors)
        self.smoothed.restore(tensors)
