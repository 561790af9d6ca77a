"""``TrainedModel``: the adapted model of a job beside its data, as the loop and a method see it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from flexlora.errors import FlexLoRAError
from flexlora.job import Job
from flexlora.methods import METHODS
from flexlora.start import place, starting_ranks
from flexlora.tasks import load_task
from flexlora.tasks.data import Split


class TrainedModel:
    """What is trained, and on what; it knows neither optimizer nor method.

    Attributes:
        job: what was asked for.
        data: the task with its splits.
        adapter: the adapted matrices and the head.
        model: the whole network, on ``device``.
        adapts: False where only the head is trained.
        samples_per_step: size of a batch.
        start: ranks that differ between matrices from the start; None = ``initial_rank`` each.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.device = _device(job.loop.device)
        torch.set_num_threads(job.loop.threads)
        torch.manual_seed(job.config.seed)
        self.data = load_task(job.task, job.config.seed, job.loop.control, job.loop)
        self.samples_per_step = min(job.loop.batch_size or 1, len(self.data.train))
        self.start = starting_ranks(self)
        self.adapter = METHODS[job.method].attach(self.data.model, job.config)
        if self.start is not None:
            place(self.adapter, self.start.ranks)
        self.model: nn.Module = self.adapter.model.to(self.device)
        self.adapts = job.loop.control != "head_only"
        if not self.adapts:
            for parameter in self.adapter.parameters():
                parameter.requires_grad_(False)

    def batch(self, rows: np.ndarray) -> dict[str, Tensor]:
        """Return rows of the training split on the model's device, labels included."""
        return {key: value.to(self.device) for key, value in self.data.train.batch(rows).items()}

    def loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the task loss of a batch, differentiable."""
        with self.precision():
            return self.model(**batch).loss

    def evaluate(self, split: Split, max_samples: int | None = None) -> dict[str, float]:
        """Return the task's metrics and loss on the first ``max_samples`` of a split (None = all)."""
        with self.precision():
            return self.data.evaluate(self.model, split, max_samples=max_samples)

    def named_parameters(self) -> dict[str, nn.Parameter]:
        """Return a stable name for every parameter of the adapter and the head."""
        head = zip(self.adapter.head, self.adapter.head_parameters(), strict=True)
        return self.adapter.named_parameters() | {f"head.{name}": parameter for name, parameter in head}

    def scheduled_rate(self, step: int, steps: int) -> float:
        """Return the share of the peak learning rate at ``step`` of a schedule over ``steps`` steps."""
        warmup = self.job.loop.lr_warmup_steps or 0
        if step <= warmup:
            return step / (warmup + 1)
        if self.job.loop.lr_decay == "constant":
            return 1.0
        return (steps - step + 1) / max(1, steps - warmup)

    def precision(self) -> contextlib.AbstractContextManager[object]:
        """Return the context that a forward pass runs in."""
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
