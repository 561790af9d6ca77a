"""The task loss of each optimizer step, read from the model itself: a Trainer shows callbacks only averages of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


class StepLoss:
    """Collects the loss of every training forward pass; ``take`` returns that of the optimizer step.

    Losses of accumulated batches are averaged, or added where the model was told how many items the whole step has
    (``num_items_in_batch``): in both cases what the gradient is of. Nothing is fetched from the accelerator.
    """

    def __init__(self) -> None:
        self._hook: Any = None
        self._world_size = 1
        self._losses: list[Tensor] = []
        self._summed = False

    def attach(self, model: nn.Module, world_size: int = 1) -> None:
        """Watch a model.

        Args:
            model: its output has a ``loss``; without one every step's loss is None.
            world_size: processes whose items ``num_items_in_batch`` counts.
        """
        self.detach()
        self._world_size = world_size
        keep: Any = torch.compiler.disable(self._keep)
        self._hook = model.register_forward_hook(keep, with_kwargs=True)

    def detach(self) -> None:
        """Stop watching."""
        if self._hook is not None:
            self._hook.remove()
            self._hook = None
        self._losses = []

    def keep(self, loss: Tensor) -> None:
        """Take over the loss of the only batch of a step, which was made without calling the model."""
        self._losses, self._summed = [loss.detach().float().reshape(()).clone()], False

    def take(self) -> Tensor | None:
        """Return the loss of the step that ended, a scalar on its device, and start the next one; None = not known."""
        losses, self._losses = self._losses, []
        if not losses:
            return None
        total = torch.stack(losses).sum()
        return total * self._world_size if self._summed else total / len(losses)

    def _keep(self, model: nn.Module, args: Any, kwargs: Mapping[str, Any], output: Any) -> None:
        if not (model.training and torch.is_grad_enabled()):
            return
        loss = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", None)
        if isinstance(loss, Tensor) and loss.numel() == 1:
            self._losses.append(loss.detach().float().reshape(()))
            self._summed = kwargs.get("num_items_in_batch") is not None
