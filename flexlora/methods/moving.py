"""Directions that leave their slots and come into others: what ElaLoRA and L1RA share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from flexlora.methods.dynamics import Config, Dynamics
from flexlora.moves import Moves
from flexlora.optimizer_state import YoungDirections


class MovingDynamics(Dynamics[Config]):
    """A method that prunes and extends; the optimizer keeps the moments of every direction that stays.

    Attributes:
        moves: moves directions; there from ``bind`` on.
    """

    moves: Moves

    def bind(self, optimizer: torch.optim.Optimizer) -> None:
        """Move directions of this optimizer's parameters."""
        super().bind(optimizer)
        self.moves = Moves(self.adapter, self.optimizer)

    @property
    def young(self) -> YoungDirections:
        """Ages of new directions."""
        return self.moves.young

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return the ages of young directions."""
        return {"ages": self.moves.young.state(self.trained.named_parameters())}, {}

    def restore(self, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Take over what ``state`` returned."""
        self.moves.young.restore(self.trained.named_parameters(), values["ages"])
