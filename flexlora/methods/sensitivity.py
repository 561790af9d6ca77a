"""Keeps AdaLoRA's scores in step with training, for AdaLoRA and ElaLoRA."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from torch import Tensor

from flexlora.methods.configs import AdaLoRAConfig, ElaLoRAConfig
from flexlora.methods.dynamics import Dynamics
from flexlora.smoothing import SmoothedSensitivity

if TYPE_CHECKING:
    from flexlora.trained_model import TrainedModel

Smoothing = TypeVar("Smoothing", AdaLoRAConfig, ElaLoRAConfig)


class SensitivityDynamics(Dynamics[Smoothing]):
    """Keeps the moving averages in step with training.

    Attributes:
        smoothed: moving averages of each value's sensitivity and of its uncertainty.
    """

    def __init__(self, trained: TrainedModel) -> None:
        super().__init__(trained)
        self.smoothed = SmoothedSensitivity(self.adapter, self.config.beta1, self.config.beta2)

    def after_step(self, step: int) -> None:
        """Smooth the sensitivities until the window ends."""
        if step < self.config.window_end:
            self.smoothed.update()

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return the method's own values and the moving averages."""
        return super().state()[0], self.smoothed.tensors()

    def restore(self, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Take over what ``state`` returned."""
        super().restore(values, tensors)
        self.smoothed.restore(tensors)
