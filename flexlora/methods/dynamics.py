"""``Dynamics``: what a method does around the training step that all methods share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from flexlora.adapter_config import AdapterConfig
from flexlora.event import Event
from flexlora.optimizer_state import YoungDirections
from flexlora.true_spectra import TrueSpectra

if TYPE_CHECKING:
    from flexlora.trained_model import TrainedModel

Config = TypeVar("Config", bound=AdapterConfig)


class Dynamics(Generic[Config]):
    """The hooks of one method; as it stands it does nothing, which is plain LoRA.

    One step: ``before_step`` → forward, backward, clipping → regulariser and ``penalty`` → ``optimizer.step()`` →
    ``after_step`` → the spectrum is logged → ``event`` where ``is_event`` → ``zero_grad()``. Neither the regulariser
    nor the penalty takes part in clipping. Rank changes in ``event`` and nowhere else: a log explains every change.

    Attributes:
        trained: what is trained, beside its data.
        optimizer: there from ``bind`` on.
        adapter: the adapted matrices.
        config: may be replaced while training; used from then on.
        spectra: true singular values, computed once a step.
    """

    @property
    def young(self) -> YoungDirections | None:
        """What keeps the ages of new directions; None for a method that adds none."""
        return None

    def __init__(self, trained: TrainedModel) -> None:
        self.trained = trained
        self.optimizer: torch.optim.Optimizer
        self.adapter = trained.adapter
        self.config = cast(Config, trained.job.config)
        self.spectra = TrueSpectra(self.adapter)

    def parameter_groups(self, rate: float, lr_lambda: float) -> list[dict[str, Any]]:
        """Return the optimizer's groups for the adapter; ``peak`` is the highest learning rate of a group."""
        matrices = self.adapter.matrices.values()
        vectors = [part for matrix in matrices for part in (matrix.Pt, matrix.Q) if part.requires_grad]
        values = [matrix.lam for matrix in matrices if matrix.lam.requires_grad]
        return [
            {"params": vectors, "peak": rate, "weight_decay": 0.0},
            {"params": values, "peak": rate * lr_lambda, "weight_decay": 0.0},
        ]

    def bind(self, optimizer: torch.optim.Optimizer) -> None:
        """Prepare for the first step, which this optimizer will make."""
        self.optimizer = optimizer

    def parameters(self) -> dict[str, nn.Parameter]:
        """Return trained parameters of the method's own, beside P, λ, Q and the head, by a stable name."""
        return {}

    def is_event(self, step: int) -> bool:
        """True when rank may change after ``step``."""
        return self.config.is_event(step)

    def budget(self, step: int) -> int | None:
        """Return b(step), the most directions that an event may move; None for a method without such a budget."""
        return None

    def target_rank(self, step: int) -> float | None:
        """Return the total rank that the schedule asks for at ``step``; None without such a schedule."""
        return None

    def pool(self, step: int) -> np.ndarray | None:
        """Return the rows of the training split that ``step`` may draw from; None = all."""
        return None

    def rate_factor(self, step: int) -> float | None:
        """Return the learning rate as a share of its peak; None = as the loop has it."""
        return None

    def before_step(self, step: int) -> None:
        """Set what the forward pass of ``step`` needs, such as gates."""

    def penalty(self, step: int) -> Tensor | None:
        """Return the method's own term of the loss, weighted, a differentiable scalar; None = it has none."""
        return None

    def after_step(self, step: int) -> None:
        """Do what follows ``optimizer.step()``; the gradients are still there. Leaves the gates of evaluation."""

    def gates(self) -> list[np.ndarray] | None:
        """Return one array a matrix, in slot order: 0 = off, else the probability that a step uses the direction.

        None when every direction is simply on.
        """
        return None

    def event(self, step: int) -> Event:
        """Change the ranks after ``step``, and say what was seen and done."""
        raise NotImplementedError(f"{type(self).__name__} announces events and has none")

    def finish(self) -> None:
        """Leave the adapter as it should be saved: what is off for good leaves its slot."""

    def evaluations(self, split: str) -> Mapping[str, float]:
        """Return further metrics of the finished adapter on a split."""
        return {}

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return what a checkpoint must keep beside parameters and optimizer: JSON values, and tensors."""
        return {}, {}

    def restore(self, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Take over what ``state`` returned."""

    def state_bytes(self) -> dict[str, int]:
        """Return the memory of the trained adapter (head included), of the optimizer's moments, of the method's own."""
        optimizer = self.optimizer.state.values()
        own = {id(tensor): tensor for tensor in [*self.state()[1].values(), *self.parameters().values()]}
        return {
            "adapter": _bytes(self.adapter.trainable_parameters()),
            "optimizer": _bytes(value for state in optimizer for value in state.values() if isinstance(value, Tensor)),
            "method": _bytes(own.values()),
        }


def _bytes(tensors: Any) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
