"""Scores of directions, smoothed over steps: AdaLoRA's sensitivity × uncertainty, and DoRA's component share."""

# torch's own optimizers are built on the _foreach functions; it does not declare them.
# pyright: reportPrivateImportUsage=false
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from flexlora.adapter import Adapter, matrix_parameters
from flexlora.linear import FlexLoRALinear

KEYS = ("Pt", "lam", "Q")
EPSILON = 1e-8
"""Added to ‖ΔW‖_F, as in DoRA's score."""


class Smoothed(Protocol):
    """Moving averages over the directions of one adapter, which follow its storage."""

    def update(self) -> None:
        """Take in the values and gradients as they are now."""
        ...

    def scores(self) -> dict[str, np.ndarray]:
        """Return name → score of each active direction (r,) float64, in slot order."""
        ...

    def forget(self, name: str, slot: int) -> None:
        """Start a slot anew; follow a matrix whose storage has grown."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """Return every average by a stable name."""
        ...

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what ``tensors`` returned."""
        ...


class SmoothedSensitivity:
    """Moving averages over every value of P, λ and Q (Zhang et al. 2023, equations 8 to 11).

    I = |w · ∂L/∂w|, Ī ← β1 Ī + (1 − β1) I, Ū ← β2 Ū + (1 − β2) |I − Ī|, s(w) = Ī · Ū.

    Attributes:
        sensitivity: name → Ī of P (transposed), λ and Q.
        uncertainty: name → Ū of the same.
    """

    def __init__(self, adapter: Adapter, beta1: float = 0.85, beta2: float = 0.85) -> None:
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
        self._follow()
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
        self._follow()
        for part in (*self.sensitivity[name], *self.uncertainty[name]):
            part[slot] = 0.0

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

    def _follow(self) -> None:
        """Be as large as the storage, which may have grown."""
        for name, matrix in self.adapter.matrices.items():
            parts = matrix_parameters(matrix)
            for by_name in (self.sensitivity, self.uncertainty):
                by_name[name] = [_as_large(own, part) for own, part in zip(by_name[name], parts, strict=True)]


class SmoothedShares:
    """Moving averages of each direction's share of its matrix (Mao et al. 2024); see ``component_shares``.

    Attributes:
        averages: name → average (capacity,).
    """

    def __init__(self, adapter: Adapter, beta: float = 0.9) -> None:
        self.adapter, self.beta = adapter, beta
        self.averages = {name: torch.zeros_like(matrix.lam) for name, matrix in adapter.matrices.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the values as they are now."""
        for name, matrix in self.adapter.matrices.items():
            average = self.averages[name] = _as_large(self.averages[name], matrix.lam)
            average.mul_(self.beta)
            average[matrix.slots] += (1.0 - self.beta) * component_shares(matrix)

    def scores(self) -> dict[str, np.ndarray]:
        """Return name → smoothed share of each active direction (r,) float64."""
        return {
            name: self.averages[name].detach()[matrix.slots].double().cpu().numpy()
            for name, matrix in self.adapter.matrices.items()
        }

    @torch.no_grad()
    def forget(self, name: str, slot: int) -> None:
        """Start a slot anew; follow a matrix whose storage has grown."""
        self.averages[name] = _as_large(self.averages[name], self.adapter.matrices[name].lam)
        self.averages[name][slot] = 0.0

    def tensors(self) -> dict[str, Tensor]:
        """Return every average by a stable name."""
        return {f"smoothed.{name}": own for name, own in self.averages.items()}

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what ``tensors`` returned."""
        for name, own in self.averages.items():
            self.averages[name] = tensors[f"smoothed.{name}"].to(own.device).clone()


SMOOTHED: dict[str, Callable[[Adapter], Smoothed]] = {
    "smoothed_sensitivities": SmoothedSensitivity,
    "smoothed_shares": SmoothedShares,
}
"""Name of an array that a policy may read → what keeps it, with the smoothing that its method has by default."""


def component_shares(matrix: FlexLoRALinear) -> Tensor:
    """Return ‖λ_i p_i q_iᵀ‖_F / (‖ΔW‖_F + ε) of each direction, (r,); the fixed scale s cancels.

    A rank-one matrix has norm |λ_i| · ‖p_i‖ · ‖q_i‖, and ‖ΔW‖² = λᵀ (PᵀP ∘ QQᵀ) λ: no product of full size is made.
    """
    P, lam, Q = matrix.directions()
    whole = lam @ ((P.T @ P) * (Q @ Q.T)) @ lam
    return lam.abs() * P.norm(dim=0) * Q.norm(dim=1) / (whole.clamp_min(0.0).sqrt() + EPSILON)


def _as_large(average: Tensor, part: Tensor) -> Tensor:
    """Return the average in the shape that the storage has now: what is new has none yet."""
    if average.shape == part.shape:
        return average
    grown = torch.zeros_like(part)
    grown[: len(average)] = average
    return grown
