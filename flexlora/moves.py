"""``Moves``: take a direction out of a slot or put one into it, and keep the optimizer in step."""

from __future__ import annotations

from typing import Any

from torch.optim import Optimizer

from flexlora.adapter import Adapter, matrix_parameters
from flexlora.initializers import OF_THE_OTHERS, Draw, direction_generator
from flexlora.optimizer_state import YoungDirections, clear_slot, replace_parameters


class Moves:
    """Changes the storage of one adapter, one direction at a time.

    Attributes:
        young: gives each new direction Adam's bias correction for its own age.
    """

    def __init__(self, adapter: Adapter, optimizer: Optimizer) -> None:
        self.adapter = adapter
        self.optimizer = optimizer
        self.young = YoungDirections(optimizer)

    def prune(self, name: str, slot: int, removed: float | None = None) -> dict[str, Any]:
        """Empty a slot of the matrix ``name``; return the move as an event records it.

        ``removed`` is its λ; None = it is read, for which an accelerator is waited for.
        """
        matrix = self.adapter.matrices[name]
        removed = float(matrix.lam.detach()[slot]) if removed is None else removed
        matrix.empty(slot)
        clear_slot(self.optimizer, matrix_parameters(matrix), slot)
        self.young.forget(matrix_parameters(matrix), slot)
        return {"matrix": name, "slot": slot, "singular_value": removed, "rules": []}

    def extend(self, name: str, start: Draw, std: float | None, seed: int, step: int) -> dict[str, Any]:
        """Put a new direction into the lowest empty slot; return the move as an event records it.

        The matrix must not be full. ``start`` says how the direction begins, such as a value of ``NEW_DIRECTIONS``;
        ``std`` is of new vectors, None = 1/√dim. ``seed`` draws the vectors, with the step and the matrix.
        """
        matrix = self.adapter.matrices[name]
        rules = []
        slot = matrix.free_slot()
        if slot is None:
            replaced = matrix.grow()
            replace_parameters(self.optimizer, replaced)
            self.young.replace(replaced)
            slot = matrix.free_slot()
            rules.append("grown")
        if slot is None:
            raise RuntimeError(f"{name} is full; the plan must not extend it")
        P, _, Q = matrix.directions() if start in OF_THE_OTHERS else (matrix.Pt.detach().T, None, matrix.Q.detach())
        generator = direction_generator(seed, step, list(self.adapter.matrices).index(name), self.adapter.config.draws)
        p, lam, q = start(P, Q, std, generator)
        matrix.fill(slot, p, lam, q)
        clear_slot(self.optimizer, matrix_parameters(matrix), slot)
        self.young.add(matrix_parameters(matrix), slot)
        return {"matrix": name, "slot": slot, "rules": rules}
