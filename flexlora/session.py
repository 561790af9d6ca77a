"""A training session: model, adapter, optimizer and allocator of one job, one step at a time."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass

import psutil
import torch
from torch import nn

from flexlora.adapter import matrix_parameters
from flexlora.allocator import RankAllocator
from flexlora.errors import FlexLoRAError
from flexlora.job import Job
from flexlora.methods import METHODS
from flexlora.tasks import load_task
from flexlora.tasks.data import Split, batch_indices, evaluate


class TrainingFailed(FlexLoRAError):
    """Training cannot go on; the log up to the last good step is intact."""


@dataclass(frozen=True)
class StepResult:
    """What one optimizer step measured.

    Attributes:
        task_loss: mean loss of the batch, before the step.
        regularizer: unweighted orthogonality regulariser, before the step.
        learning_rate: of P, Q and the head in this step.
    """

    task_loss: float
    regularizer: float
    learning_rate: float


class Session:
    """Everything that training one job holds in memory.

    Built the same way each time from the job alone; a checkpoint then sets the state. It uses torch's global random
    generator (dropout, the head's first values), so one session trains at a time in a process.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.device = _device(job.loop.device)
        torch.set_num_threads(job.loop.threads)
        torch.manual_seed(job.config.seed)
        self.data = load_task(job.task, job.config.seed, job.loop.control)
        self.adapter = METHODS[job.method].attach(self.data.model, job.config)
        self.model: nn.Module = self.adapter.model.to(self.device)
        self.adapts = job.loop.control != "head_only"
        if not self.adapts:
            for parameter in self.adapter.parameters():
                parameter.requires_grad_(False)
        self.optimizer = self._build_optimizer()
        self.allocator = RankAllocator(self.adapter, self.optimizer, job.config)
        self.allocator.log_all_measures = job.loop.log_measures == "all" and self.adapts
        self.allocates = METHODS[job.method].allocates and self.adapts
        self.samples_per_step = min(job.loop.batch_size or 1, len(self.data.train))

    def is_event(self, step: int) -> bool:
        """True when rank may move after ``step``."""
        return self.allocates and self.allocator.config.is_event(step)

    def budget(self, step: int) -> int:
        """Return b(step) under the current schedule; 0 for a method that moves no rank."""
        return self.allocator.config.budget(step) if self.allocates else 0

    def train_step(self, step: int) -> StepResult:
        """Make optimizer step number ``step`` (from 1), up to and including ``optimizer.step()``.

        Gradients stay until ``finish_step``, because an event may score them.

        Raises:
            TrainingFailed: the loss or the gradient is not finite; parameters are left as they were.
        """
        learning_rate = self._set_learning_rate(step)
        indices = batch_indices(len(self.data.train), self.samples_per_step, step, self.job.config.seed)
        batch = {key: value.to(self.device) for key, value in self.data.train.batch(indices).items()}
        self.model.train()
        with self._precision():
            loss = self.model(**batch).loss
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.adapter.trainable_parameters(), self.job.loop.max_grad_norm)
        # The norm is non-finite whenever the loss or any gradient is: one number to look at.
        if not math.isfinite(norm) or not torch.isfinite(loss):
            raise TrainingFailed(
                f"Non-finite loss or gradient at step {step} (loss {loss.item():.4g}, norm {norm.item():.4g}). "
                f"The log holds every step before it. Try a lower learning_rate than {self.job.loop.learning_rate:g}."
            )
        regularizer = self._regularize()
        self.optimizer.step()
        return StepResult(float(loss.detach()), regularizer, learning_rate)

    def finish_step(self) -> None:
        """Forget the gradients of the step."""
        self.optimizer.zero_grad(set_to_none=True)

    def evaluate(self, split: Split, max_samples: int | None = None) -> dict[str, float]:
        """Return accuracy and loss on the first ``max_samples`` of a split (None = all)."""
        with self._precision():
            return evaluate(self.model, split, max_samples=max_samples)

    def memory_bytes(self) -> int:
        """Return the memory in use: allocated on the accelerator if one is used, else resident in this process."""
        if self.device.type == "cuda":
            return torch.cuda.memory_allocated(self.device)
        return psutil.Process().memory_info().rss

    def named_parameters(self) -> dict[str, nn.Parameter]:
        """Return a stable name for every parameter that the optimizer may hold."""
        named = {
            f"{name}.{key}": parameter
            for name, matrix in self.adapter.matrices.items()
            for key, parameter in zip(("Pt", "lam", "Q"), matrix_parameters(matrix), strict=True)
        }
        head = zip(self.adapter.head, self.adapter.head_parameters(), strict=True)
        return {**named, **{f"head.{name}": parameter for name, parameter in head}}

    def _build_optimizer(self) -> torch.optim.Optimizer:
        loop = self.job.loop
        rate = loop.learning_rate or 0.0
        matrices = self.adapter.matrices.values()
        vectors = [part for matrix in matrices for part in (matrix.Pt, matrix.Q) if part.requires_grad]
        values = [matrix.lam for matrix in matrices if matrix.lam.requires_grad]
        groups = [
            {"params": vectors, "peak": rate, "weight_decay": 0.0},
            {"params": values, "peak": rate * loop.lr_lambda, "weight_decay": 0.0},
            {"params": self.adapter.head_parameters(), "peak": rate, "weight_decay": loop.weight_decay},
        ]
        return torch.optim.AdamW([group for group in groups if group["params"]], lr=rate, fused=True)

    def _set_learning_rate(self, step: int) -> float:
        # A function of the step alone: nothing to lose at an event, nothing to restore on resume.
        factor = 1.0 if self.allocator.lr_released else self._rate_factor(step)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        return (self.job.loop.learning_rate or 0.0) * factor

    def _rate_factor(self, step: int) -> float:
        warmup = self.job.loop.lr_warmup_steps or 0
        if step <= warmup:
            return step / (warmup + 1)
        if self.job.loop.lr_decay == "constant":
            return 1.0
        return (self.job.steps - step + 1) / max(1, self.job.steps - warmup)

    def _regularize(self) -> float:
        if not self.adapts:
            return 0.0
        if self.adapter.config.regularization_weight:
            return float(self.adapter.add_regularization_gradient())
        with torch.no_grad():
            return float(self.adapter.regularization())

    def _precision(self) -> contextlib.AbstractContextManager[object]:
        if self.job.loop.precision == "bf16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return contextlib.nullcontext()


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise FlexLoRAError(f"device={name!r} is not a torch device. Use cpu, cuda or cuda:N.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise FlexLoRAError(f"device={name!r}: this machine has no usable CUDA device. Use device=cpu.")
    return device
