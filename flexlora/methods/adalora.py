"""AdaLoRA (Zhang et al., ICLR 2023, https://openreview.net/forum?id=lq62uWRJjiY) on the shared adapter.

ΔW = s · P diag(λ) Q with λ = 0 and P, Q ~ N(0, 0.02²). Agrees with PEFT's AdaLoRA event by event, which settles
what the paper leaves open: the order of update and mask, the threshold at ties, and that the last mask stays.
"""

from __future__ import annotations

import numpy as np
from torch import nn

from flexlora.adapter import Adapter, attach_directions, gaussian_start
from flexlora.methods.configs import AdaLoRAConfig
from flexlora.methods.masks import TargetDynamics
from flexlora.methods.sensitivity import SensitivityDynamics


def attach(model: nn.Module, config: AdaLoRAConfig) -> Adapter:
    """Adapt a model with AdaLoRA's start; the output does not change."""
    return attach_directions(model, config, gaussian_start(config.initial_rank, config.initial_std))


class AdaLoRADynamics(SensitivityDynamics[AdaLoRAConfig], TargetDynamics[AdaLoRAConfig]):
    """Scores single values, sums them to directions, and switches off the lowest of all matrices together."""

    measure = "sensitivity_times_uncertainty"

    def after_step(self, step: int) -> None:
        """Smooth the sensitivities until the window ends; from then on keep what is off at zero."""
        super().after_step(step)
        if step > self.config.window_end:
            self.silence()

    def scores(self) -> dict[str, np.ndarray]:
        """Return name → score of each direction (r,) float64."""
        return self.smoothed.scores()


dynamics = AdaLoRADynamics
