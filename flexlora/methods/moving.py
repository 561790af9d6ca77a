"""Directions that leave their slots and come into others: what ElaLoRA and L1RA share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from flexlora.methods.dynamics import Dynamics
from flexlora.moves import Moves

if TYPE_CHECKING:
    from flexlora.trained_model import TrainedModel


class MovingDynamics(Dynamics):
    """A method that prunes and extends; the optimizer keeps the moments of every direction that stays."""

    def __init__(self, trained: TrainedModel) -> None:
        super().__init__(trained)
        self._moves: Moves | None = None

    @property
    def moves(self) -> Moves:
        """Return what moves directions."""
        if self._moves is None:
            raise RuntimeError("bind() comes before the first step")
        return self._moves

    def bind(self, optimizer: torch.optim.Optimizer) -> None:
        """Move directions of this optimizer's parameters."""
        super().bind(optimizer)
        self._moves = Moves(self.adapter, self.optimizer)

    def limits(self) -> dict[str, int]:
        """Return the highest rank that each matrix may have: its smaller side."""
        matrices = self.adapter.matrices
        return {name: min(matrix.in_features, matrix.out_features) for name, matrix in matrices.items()}

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return the ages of young directions."""
        return {"ages": self.moves.young.state(self.trained.named_parameters())}, {}

    def restore(self, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Take over what ``state`` returned."""
        self.moves.young.restore(self.trained.named_parameters(), values["ages"])
