"""True singular values of every adapted matrix, computed once a step."""

from __future__ import annotations

import numpy as np
import torch

from flexlora.adapter import Adapter
from flexlora.spectra import true_singular_values


class TrueSpectra:
    """Singular values of each ΔW, by thin QR and an r × r SVD in float64.

    An event scores them right after they were logged; they are then not computed again.
    """

    def __init__(self, adapter: Adapter) -> None:
        self.adapter = adapter
        self._step: int | None = None
        self._found: dict[str, np.ndarray] = {}

    def at(self, step: int) -> dict[str, np.ndarray]:
        """Return matrix → singular values of ΔW, (r,) descending float64, of the adapter as it is at ``step``."""
        if self._step != step:
            self._found = {name: self._of(name) for name in self.adapter.matrices}
            self._step = step
        return self._found

    def forget(self) -> None:
        """Compute anew when asked next: the adapter has changed since."""
        self._step = None

    def _of(self, name: str) -> np.ndarray:
        matrix = self.adapter.matrices[name]
        P, lam, Q = (part.to("cpu", torch.float64).numpy() for part in matrix.directions())
        return true_singular_values(P, lam, Q, matrix.scale)
