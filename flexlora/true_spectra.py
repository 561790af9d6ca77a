"""True singular values of every adapted matrix, computed once a step."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import torch
from torch import Tensor

from flexlora.adapter import Adapter
from flexlora.spectra import singular_values_from_grams, true_singular_values

CHUNK = 1 << 24
"""Values of P or Q that are held in float64 at a time on an accelerator."""


class TrueSpectra:
    """Singular values of each ΔW in float64: by thin QR on the CPU, by small products on an accelerator.

    An event scores them right after they were logged; they are then not computed again.
    """

    def __init__(self, adapter: Adapter) -> None:
        self.adapter = adapter
        self._step: int | None = None
        self._found: dict[str, np.ndarray] = {}

    def at(self, step: int) -> dict[str, np.ndarray]:
        """Return matrix → singular values of ΔW, (r,) descending float64, of the adapter as it is at ``step``."""
        if self._step != step:
            device = next(iter(self.adapter.matrices.values())).lam.device
            found = from_grams(self.adapter) if device.type == "cuda" else {}
            for name, matrix in self.adapter.matrices.items():
                if name not in found:
                    P, lam, Q = (part.to("cpu", torch.float64).numpy() for part in matrix.directions())
                    found[name] = true_singular_values(P, lam, Q, matrix.scale)
            self._found = {name: found[name] for name in self.adapter.matrices}
            self._step = step
        return self._found

    def forget(self) -> None:
        """Compute anew when asked next: the adapter has changed since."""
        self._step = None


@torch.no_grad()
def from_grams(adapter: Adapter) -> dict[str, np.ndarray]:
    """Return matrix → singular values of ΔW, where PᵀP and QQᵀ give them; one copy from the device for all.

    A matrix whose P or Q is far from orthonormal is left out, with those of its rank.
    """
    matrices = list(adapter.matrices.items())
    grams = _grams([factor for _, matrix in matrices for factor in (matrix.Pt, matrix.Q)])
    flat = torch.cat([*(gram.flatten() for gram in grams), adapter.flat_weights().double()]).cpu().numpy()
    sizes = [gram.numel() for gram in grams]
    parts = np.split(flat[: sum(sizes)], np.cumsum(sizes)[:-1])
    lam = adapter.split_weights(flat[sum(sizes) :])
    groups: dict[tuple[int, float], list[tuple[str, np.ndarray, np.ndarray]]] = defaultdict(list)
    for place, (name, matrix) in enumerate(matrices):
        own = np.ix_(matrix.slots, matrix.slots)
        shape = (matrix.capacity, matrix.capacity)
        left, right = (part.reshape(shape)[own] for part in parts[2 * place : 2 * place + 2])
        groups[matrix.rank, matrix.scale].append((name, left, right))
    found: dict[str, np.ndarray] = {}
    for (_, scale), members in groups.items():
        names, left, right = zip(*members, strict=True)
        values = singular_values_from_grams(
            np.stack(left), np.stack([lam[name] for name in names]), np.stack(right), scale
        )
        if values is not None:
            found |= dict(zip(names, values, strict=True))
    return found


def _grams(factors: list[Tensor]) -> list[Tensor]:
    """Return F Fᵀ of each factor (capacity, dim), (capacity, capacity) float64, many in one product."""
    grams: list[Tensor | None] = [None] * len(factors)
    shapes: dict[torch.Size, list[int]] = defaultdict(list)
    for place, factor in enumerate(factors):
        shapes[factor.shape].append(place)
    for shape, places in shapes.items():
        size = max(1, CHUNK // shape.numel())
        for start in range(0, len(places), size):
            chosen = places[start : start + size]
            stacked = torch.stack([factors[place] for place in chosen]).double()
            for place, gram in zip(chosen, (stacked @ stacked.mT).unbind(), strict=True):
                grams[place] = gram
    return [gram for gram in grams if gram is not None]
