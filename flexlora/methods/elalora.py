"""ElaLoRA (Chang, Ma et al. 2025, https://arxiv.org/abs/2504.00254) on the shared adapter.

AdaLoRA's scores, but directions move: each matrix puts its ``pool`` lowest directions into one pool; the b lowest of it
are pruned, and the matrices that own the b highest of it get one more each. The ancestor of FlexLoRA's released code.
"""

from __future__ import annotations

from torch import nn

from flexlora.adapter import Adapter, attach_directions, gaussian_start
from flexlora.choices import pool_ends
from flexlora.event import Event
from flexlora.importance import SCORED_BY_LAMBDA, score_all
from flexlora.initializers import gram_schmidt
from flexlora.methods.configs import ElaLoRAConfig
from flexlora.methods.moving import MovingDynamics
from flexlora.methods.sensitivity import SensitivityDynamics


def attach(model: nn.Module, config: ElaLoRAConfig) -> Adapter:
    """Adapt a model with AdaLoRA's start, and room to grow; the output does not change."""
    return attach_directions(
        model, config, gaussian_start(config.initial_rank, config.initial_std), 2 * config.initial_rank
    )


class ElaLoRADynamics(SensitivityDynamics[ElaLoRAConfig], MovingDynamics[ElaLoRAConfig]):
    """Scores as AdaLoRA, prunes and extends as FlexLoRA."""

    def budget(self, step: int) -> int | None:
        """Return b(step)."""
        return self.config.budget(step)

    def event(self, step: int) -> Event:
        """Prune the lowest of the pool, extend the matrices of its highest."""
        config, moves = self.config, self.moves
        scores = self.smoothed.scores()
        slots = {name: list(matrix.slots) for name, matrix in self.adapter.matrices.items()}
        taken, given = pool_ends(scores, slots, self.adapter.limits(), config.pool, config.budget(step))
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
            prune=prune,
            extend=extend,
            rules=sorted({rule for move in extend for rule in move["rules"]}),
            scores={name: own.tolist() for name, own in scores.items()},
        )


dynamics = ElaLoRADynamics
