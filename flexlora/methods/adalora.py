"""AdaLoRA (Zhang et al., ICLR 2023, https://openreview.net/forum?id=lq62uWRJjiY) on the shared adapter.

ΔW = s · P diag(λ) Q with λ = 0 and P, Q ~ N(0, 0.02²). Agrees with PEFT's AdaLoRA event by event, which settles
what the paper leaves open: the order of update and mask, the threshold at ties, and that the last mask stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from flexlora.adapter import Adapter, attach_directions
from flexlora.event import Event
from flexlora.initializers import gaussian
from flexlora.linear import FlexLoRALinear
from flexlora.methods.configs import AdaLoRAConfig, ElaLoRAConfig
from flexlora.methods.masks import MaskedDynamics
from flexlora.methods.sensitivity import SmoothedSensitivity
from flexlora.rank_targets import keep_best

if TYPE_CHECKING:
    from flexlora.trained_model import TrainedModel


def starting_draw(config: AdaLoRAConfig | ElaLoRAConfig) -> Callable[[FlexLoRALinear, torch.Generator], None]:
    """Return what fills the slots of a matrix: λ = 0 and Gaussian P, Q."""

    def draw(matrix: FlexLoRALinear, generator: torch.Generator) -> None:
        for slot in range(config.initial_rank):
            p = gaussian(matrix.out_features, config.initial_std, generator)
            matrix.fill(slot, p, 0.0, gaussian(matrix.in_features, config.initial_std, generator))

    return draw


def attach(model: nn.Module, config: AdaLoRAConfig) -> Adapter:
    """Adapt a model with AdaLoRA's start; the output does not change."""
    return attach_directions(model, config, starting_draw(config))


class AdaLoRADynamics(MaskedDynamics):
    """Scores single values, sums them to directions, and switches off the lowest of all matrices together.

    Attributes:
        smoothed: moving averages of each value's sensitivity and of its uncertainty.
    """

    def __init__(self, trained: TrainedModel) -> None:
        super().__init__(trained)
        config = self._config()
        self.smoothed = SmoothedSensitivity(self.adapter, config.beta1, config.beta2)

    def target_rank(self, step: int) -> float | None:
        """Return AdaLoRA's budget b(step)."""
        return self._config().target_total(step, len(self.adapter.matrices))

    def after_step(self, step: int) -> None:
        """Smooth the sensitivities until the window ends; from then on keep what is off at zero."""
        _, _, total, final = self._config().window()
        if step < total - final:
            self.smoothed.update()
        elif step > total - final:
            self.silence()

    def event(self, step: int) -> Event:
        """Switch off all but the b(step) directions with the highest scores."""
        scores = self.scores()
        target = self._config().target_total(step, len(self.adapter.matrices))
        masks, threshold = keep_best(list(scores.values()), target)
        on = dict(zip(scores, masks, strict=True))
        event = self.declare(step, on, scores, "sensitivity_times_uncertainty", target, threshold)
        self.silence()
        return event

    def scores(self) -> dict[str, np.ndarray]:
        """Return name → score of each direction (r,) float64."""
        return self.smoothed.scores()

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return the masks and the moving averages."""
        values, _ = super().state()
        return values, self.smoothed.tensors()

    def restore(self, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Take over what ``state`` returned."""
        super().restore(values, tensors)
        self.smoothed.restore(tensors)

    def _config(self) -> AdaLoRAConfig:
        return cast(AdaLoRAConfig, self.config)


dynamics = AdaLoRADynamics
