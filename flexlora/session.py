"""A training session: model, adapter, optimizer and method of one job, one step at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import psutil
import torch
from torch import nn

from flexlora.errors import FlexLoRAError
from flexlora.event import Event
from flexlora.job import Job
from flexlora.methods import METHODS
from flexlora.methods.dynamics import Dynamics
from flexlora.trained_model import TrainedModel


class TrainingFailed(FlexLoRAError):
    """Training cannot go on; the log up to the last good step is intact."""


@dataclass(frozen=True)
class StepResult:
    """What one optimizer step measured.

    Attributes:
        task_loss: mean loss of the batch, before the step.
        regularizer: unweighted orthogonality regulariser, before the step.
        penalty: the method's own term of the loss, weighted; None when it has none.
        learning_rate: of P, Q and the head in this step.
    """

    task_loss: float
    regularizer: float
    penalty: float | None
    learning_rate: float


class Session:
    """Everything that training one job holds in memory.

    Built the same way each time from the job alone; a checkpoint then sets the state. It uses torch's global random
    generator (dropout, the head's first values), so one session trains at a time in a process.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self._process = psutil.Process()
        self.trained = trained = TrainedModel(job)
        self.device, self.data, self.adapter, self.model = trained.device, trained.data, trained.adapter, trained.model
        # Without the adapters no method has anything to do.
        self.dynamics = METHODS[job.method].dynamics(trained) if trained.adapts else Dynamics(trained)
        self._head = self.adapter.head_parameters()
        self.optimizer = self._build_optimizer()
        self.dynamics.bind(self.optimizer)

    def is_event(self, step: int) -> bool:
        """True when rank may move after ``step``."""
        return self.trained.adapts and self.dynamics.is_event(step)

    def event(self, step: int) -> Event:
        """Let the method change the ranks after ``step``; return what it saw and did."""
        return self.dynamics.event(step)

    def train_step(self, step: int) -> StepResult:
        """Make optimizer step number ``step`` (from 1), up to and including ``optimizer.step()``.

        Gradients stay until ``finish_step``, because an event may score them.

        Raises:
            TrainingFailed: the loss or the gradient is not finite; parameters are left as they were.
        """
        learning_rate = self.set_learning_rate(step)
        batch = self.trained.batch(self.rows(step))
        self.model.train()
        self.dynamics.before_step(step)
        loss = self.trained.loss(batch)
        loss.backward()
        norm = nn.utils.clip_grad_norm_([*self.adapter.parameters(), *self._head], self.job.loop.max_grad_norm)
        # The norm is non-finite whenever the loss or any gradient is: one number to look at.
        if not math.isfinite(norm) or not torch.isfinite(loss):
            raise self.not_finite(step, loss.item(), norm.item())
        regularizer = float(self.adapter.add_regularization_gradient()) if self.trained.adapts else 0.0
        penalty = self.dynamics.penalty(step)
        if penalty is not None:
            penalty.backward()
        self.optimizer.step()
        self.dynamics.after_step(step)
        own = None if penalty is None else float(penalty.detach())
        return StepResult(float(loss.detach()), regularizer, own, learning_rate)

    def rows(self, step: int) -> np.ndarray:
        """Return the rows of the training split that ``step`` takes, (batch,)."""
        pool = self.dynamics.pool(step)
        count = len(self.data.train) if pool is None else len(pool)
        rows = self.data.rows(count, min(self.trained.samples_per_step, count), step, self.job.config.seed)
        return rows if pool is None else pool[rows]

    def not_finite(self, step: int, loss: float, norm: float) -> TrainingFailed:
        """Return what is raised where a step's loss or gradient is not finite."""
        return TrainingFailed(
            f"Non-finite loss or gradient at step {step} (loss {loss:.4g}, norm {norm:.4g}). "
            f"The log holds every step before it. Try a lower learning_rate than {self.job.loop.learning_rate:g}."
        )

    def finish_step(self) -> None:
        """Forget the gradients of the step."""
        self.optimizer.zero_grad(set_to_none=True)

    def memory_bytes(self) -> int:
        """Return the memory in use: allocated on the accelerator if one is used, else resident in this process."""
        if self.device.type == "cuda":
            return torch.cuda.memory_allocated(self.device)
        return self._process.memory_info().rss

    def named_parameters(self) -> dict[str, nn.Parameter]:
        """Return a stable name for every parameter that the optimizer may hold."""
        own = {f"method.{name}": parameter for name, parameter in self.dynamics.parameters().items()}
        return self.trained.named_parameters() | own

    def _build_optimizer(self) -> torch.optim.Optimizer:
        loop = self.job.loop
        rate = loop.learning_rate or 0.0
        head = {"params": self._head, "peak": rate, "weight_decay": loop.weight_decay}
        groups = [*self.dynamics.parameter_groups(rate, loop.lr_lambda), head]
        return torch.optim.AdamW([group for group in groups if group["params"]], lr=rate, fused=True)

    def set_learning_rate(self, step: int) -> float:
        """Set the rate of each of the optimizer's groups for ``step``; return that of P, Q and the head."""
        # A function of the step alone: nothing to lose at an event, nothing to restore on resume.
        own = self.dynamics.rate_factor(step)
        factor = self.trained.scheduled_rate(step, self.job.steps) if own is None else own
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        return (self.job.loop.learning_rate or 0.0) * factor
