"""What one direction more or less of each matrix is really worth: the loss it changes, measured by brute force."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flexlora.adapter import Adapter
from flexlora.linear import FlexLoRALinear
from flexlora.observation import observe_before

Batch = Mapping[str, Tensor]
SIZES = tuple(2.0**power for power in range(-10, 4))
"""Sizes of a new direction that are tried, as shares of ‖W0‖₂'s estimate ‖W0‖_F / √min(in, out)."""


@dataclass(frozen=True)
class Worth:
    """What a direction of each matrix is worth, in loss on held-out examples.

    Attributes:
        loss: of the adapter as it is.
        taken: matrix → loss without its smallest |λ| minus ``loss``; NaN where it has no direction.
        given: matrix → ``loss`` minus the loss with the best new direction.
    """

    loss: float
    taken: dict[str, float]
    given: dict[str, float]


def worth_of_directions(
    adapter: Adapter, loss: Callable[[Batch], Tensor], learn_on: Sequence[Batch], judge_on: Sequence[Batch]
) -> Worth:
    """Take and give one direction in every matrix, one at a time; the adapter is afterwards as it was.

    The new direction: p and q are the leading singular vectors of −∂L/∂ΔW on ``learn_on``, which lower the loss fastest
    for their size; its size is the best of ``SIZES`` there. All else stays as trained.

    Args:
        adapter: of a model in evaluation mode.
        loss: mean loss of a batch.
        learn_on: batches that the new direction is chosen on.
        judge_on: other batches, of one size.
    """

    @torch.no_grad()
    def mean_loss(batches: Sequence[Batch]) -> float:
        return float(np.mean([float(loss(batch)) for batch in batches]))

    whole = mean_loss(judge_on)
    taken, given = {}, {}
    arrays = observe_before(
        adapter.config,
        {name: matrix.base for name, matrix in adapter.matrices.items()},
        ("gradients", "weights"),
        [lambda batch=batch: loss(batch) for batch in learn_on],
        {},
        None,
        None,
    )
    for name, matrix in adapter.matrices.items():
        taken[name] = _without_smallest(matrix, lambda: mean_loss(judge_on)) - whole
        given[name] = whole - _with_new(
            matrix,
            arrays["gradients"][name],
            arrays["weights"][name],
            lambda: mean_loss(learn_on),
            lambda: mean_loss(judge_on),
        )
    return Worth(whole, taken, given)


@torch.no_grad()
def _without_smallest(matrix: FlexLoRALinear, measure: Callable[[], float]) -> float:
    if not matrix.slots:
        return float("nan")
    slot = matrix.slots[int(matrix.lam[matrix.slots].abs().argmin())]
    kept = matrix.lam[slot].clone()
    matrix.lam[slot] = 0.0
    found = measure()
    matrix.lam[slot] = kept
    return found


@torch.no_grad()
def _with_new(
    matrix: FlexLoRALinear,
    gradient: np.ndarray,
    weight: np.ndarray,
    learn: Callable[[], float],
    judge: Callable[[], float],
) -> float:
    left, _, right = np.linalg.svd(-gradient, full_matrices=False)
    unit = float(np.linalg.norm(weight)) / np.sqrt(min(weight.shape))
    plain: Any = matrix.base.get_parameter("weight")
    kept = plain.detach().clone()
    step = torch.from_numpy(np.outer(left[:, 0], right[0]))
    step = (step if matrix.base.__class__.__name__ != "Conv1D" else step.T).to(plain)

    def at(size: float) -> None:
        # ΔW and W0 are added up, so the frozen weight can carry the direction: no slot has to be free.
        plain.copy_(kept + size * unit * step)

    best, lowest = 0.0, learn()
    for size in SIZES:
        at(size)
        if (found := learn()) < lowest:
            best, lowest = size, found
    at(best)
    found = judge()
    plain.copy_(kept)
    return found
