"""ElaLoRA (Chang, Ma et al. 2025, https://arxiv.org/abs/2504.00254) on the shared adapter.

AdaLoRA's scores, but directions move: each matrix puts its ``pool`` lowest directions into one pool; the b lowest of it
are pruned, and the matrices that own the b highest of it get one more each. The ancestor of FlexLoRA's released code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from torch import Tensor, nn

from flexlora.adapter import Adapter, attach_directions
from flexlora.event import Event
from flexlora.importance import SCORED_BY_LAMBDA, score_all
from flexlora.initializers import gram_schmidt
from flexlora.methods.adalora import starting_draw
from flexlora.methods.configs import ElaLoRAConfig
from flexlora.methods.moving import MovingDynamics
from flexlora.methods.sensitivity import SmoothedSensitivity

if TYPE_CHECKING:
    from flexlora.trained_model import TrainedModel

Entry = tuple[float, str, int]
"""Score, matrix and slot of one direction in the pool."""


def attach(model: nn.Module, config: ElaLoRAConfig) -> Adapter:
    """Adapt a model with AdaLoRA's start, and room to grow; the output does not change."""
    return attach_directions(model, config, starting_draw(config), 2 * config.initial_rank)


def choose(
    scores: Mapping[str, np.ndarray], slots: Mapping[str, list[int]], limits: Mapping[str, int], pool: int, budget: int
) -> tuple[list[Entry], list[Entry]]:
    """Return the directions to prune, lowest first, and those whose matrices are extended, highest first.

    Args:
        scores: matrix → score of each direction (r,).
        slots: matrix → slot of each direction.
        limits: matrix → highest rank it may have.
        pool: directions that each matrix puts up.
        budget: the most of each.

    Returns:
        Two lists of equal length without a common entry, so that total rank is conserved. A matrix keeps one direction.
    """
    entries: list[Entry] = []
    for name, own in scores.items():
        lowest = np.argsort(own, kind="stable")[:pool]
        entries.extend((float(own[place]), name, slots[name][place]) for place in lowest.tolist())
    entries.sort(key=lambda entry: entry[0])
    ranks = {name: len(own) for name, own in slots.items()}
    taken: list[Entry] = []
    for entry in entries:
        if len(taken) < budget and ranks[entry[1]] > 1:
            ranks[entry[1]] -= 1
            taken.append(entry)
    given: list[Entry] = []
    for entry in reversed(entries):
        if len(given) < budget and entry not in taken and ranks[entry[1]] < limits[entry[1]]:
            ranks[entry[1]] += 1
            given.append(entry)
    count = min(len(taken), len(given))
    return taken[:count], given[:count]


class ElaLoRADynamics(MovingDynamics):
    """Scores as AdaLoRA, prunes and extends as FlexLoRA."""

    def __init__(self, trained: TrainedModel) -> None:
        super().__init__(trained)
        config = self._config()
        self.smoothed = SmoothedSensitivity(self.adapter, config.beta1, config.beta2)

    def budget(self, step: int) -> int | None:
        """Return b(step)."""
        return self._config().budget(step)

    def after_step(self, step: int) -> None:
        """Smooth the sensitivities until the window ends."""
        _, _, total, final = self._config().window()
        if step < total - final:
            self.smoothed.update()

    def event(self, step: int) -> Event:
        """Prune the lowest of the pool, extend the matrices of its highest."""
        config, moves = self._config(), self.moves
        scores = self.smoothed.scores()
        slots = {name: list(matrix.slots) for name, matrix in self.adapter.matrices.items()}
        taken, given = choose(scores, slots, self.limits(), config.pool, config.budget(step))
        lam = self.adapter.singular_values()
        prune = []
        for score, name, slot in taken:
            prune.append({**moves.prune(name, slot), "score": score})
            self.smoothed.forget(name, slot)
        extend = []
        for score, name, _ in given:
            move = moves.extend(name, gram_schmidt, None, config.seed + len(extend), step)
            self.smoothed.forget(name, move["slot"])
            extend.append({**move, "score": score})
        self.spectra.forget()
        measure = "sensitivity_times_uncertainty"
        return Event(
            step=step,
            budget=config.budget(step),
            measure=measure,
            importance={
                **score_all(lam, SCORED_BY_LAMBDA),
                measure: {name: float(own.mean()) for name, own in scores.items()},
            },
            decided={},
            prune=prune,
            extend=extend,
            rules=sorted({rule for move in extend for rule in move["rules"]}),
            scores={name: own.tolist() for name, own in scores.items()},
        )

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return the ages of young directions and the moving averages."""
        values, _ = super().state()
        return values, self.smoothed.tensors()

    def restore(self, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Take over what ``state`` returned."""
        super().restore(values, tensors)
        self.smoothed.restore(tensors)

    def _config(self) -> ElaLoRAConfig:
        return cast(ElaLoRAConfig, self.config)


dynamics = ElaLoRADynamics
