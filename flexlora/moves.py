"""``Moves``: take a direction out of a slot or put one into it, and keep the optimizer in step."""

# torch's own optimizers are built on the _foreach functions; it does not declare them.
# pyright: reportPrivateImportUsage=false
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from flexlora.adapter import Adapter, matrix_parameters
from flexlora.initializers import OF_THE_OTHERS, Draw, direction_generator
from flexlora.kept_elsewhere import young_directions
from flexlora.linear import write_rows
from flexlora.optimizer_state import moment_rows, replace_parameters
from flexlora.state_rows import begin_rows, keep_estimates, row_totals


class Moves:
    """Changes the storage of one adapter, one direction at a time; within ``together``, all of them in a few calls.

    Attributes:
        young: gives each new direction Adam's bias correction for its own age.
    """

    def __init__(self, adapter: Adapter, optimizer: Optimizer) -> None:
        self.adapter = adapter
        self.optimizer = optimizer
        self.young = young_directions(optimizer)
        self._places = {name: place for place, name in enumerate(adapter.matrices)}
        self._waits = False
        self._emptied: list[Tensor] = []
        self._filled: list[tuple[list[Tensor], Tensor, float, Tensor]] = []
        self._left: list[tuple[nn.Parameter, int]] = []
        self._came: list[tuple[nn.Parameter, int]] = []

    @contextmanager
    def together(self) -> Iterator[None]:
        """Write everything that is moved in this block at its end: on an accelerator each call of its own costs."""
        self._waits = True
        try:
            yield
        finally:
            self._waits = False
            self._write()

    def prune(self, name: str, slot: int, removed: float | None = None) -> dict[str, Any]:
        """Empty a slot of the matrix ``name``; return the move as an event records it.

        ``removed`` is its λ; None = it is read, for which an accelerator is waited for.
        """
        matrix = self.adapter.matrices[name]
        if removed is None:
            removed = float(matrix.lam.detach()[slot])
        parameters = matrix_parameters(matrix)
        with torch.no_grad():
            self._emptied += [*matrix.release(slot), *moment_rows(self.optimizer, parameters, slot)]
        self._left += [(parameter, slot) for parameter in parameters]
        self._written()
        return {"matrix": name, "slot": slot, "singular_value": removed, "rules": []}

    def extend(self, name: str, start: Draw, std: float | None, seed: int, step: int) -> dict[str, Any]:
        """Put a new direction into the lowest empty slot; return the move as an event records it.

        The matrix must not be full. ``start`` says how the direction begins, such as a value of ``NEW_DIRECTIONS``;
        ``std`` is of new vectors, None = 1/√dim. ``seed`` draws the vectors, with the step and the matrix.
        """
        matrix = self.adapter.matrices[name]
        rules = []
        if start in OF_THE_OTHERS or matrix.free_slot() is None:
            self._write()
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
        generator = direction_generator(seed, step, self._places[name], self.adapter.config.draws)
        p, lam, q = start(P, Q, std, generator)
        parameters = matrix_parameters(matrix)
        with torch.no_grad():
            self._filled.append((matrix.claim(slot), p, lam, q))
            self._emptied += moment_rows(self.optimizer, parameters, slot)
        self._came += [(parameter, slot) for parameter in parameters]
        self._written()
        return {"matrix": name, "slot": slot, "rules": rules}

    def _written(self) -> None:
        if not self._waits:
            self._write()

    @torch.no_grad()
    def _write(self) -> None:
        """Carry out what waits: a slot that was emptied may have been filled again since."""
        emptied, filled, left, came = self._emptied, self._filled, self._left, self._came
        self._emptied, self._filled, self._left, self._came = [], [], [], []
        totals = row_totals(self.optimizer, [parameter for parameter, _ in [*left, *came]])
        if emptied:
            torch._foreach_zero_(emptied)
        if filled:
            write_rows(filled)
        if came:
            begin_rows(self.optimizer, came, self._in_use())
        keep_estimates(self.optimizer, totals)
        self.young.forget_all(left)
        self.young.add_all(came)

    def _in_use(self) -> dict[nn.Parameter, list[int]]:
        matrices = self.adapter.matrices.values()
        return {parameter: matrix.slots for matrix in matrices for parameter in matrix_parameters(matrix)}
