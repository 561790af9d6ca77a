"""What one direction more or less of each matrix is really worth: the loss it changes, measured by brute force.

Each variant of the model differs by one rank-one change of one matrix. Variants are run side by side: the examples are
repeated, and a matrix adds its change to the rows of its own variant alone. It is the same arithmetic as one after the
other, with fewer and larger calls.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flexlora.adapter import Adapter
from flexlora.linear import FlexLoRALinear
from flexlora.observation import observe_before

Batch = Mapping[str, Tensor]
SIZES = tuple(2.0**power for power in range(-10, 4))
"""Sizes of a new direction that are tried, as shares of ‖W0‖₂'s estimate ‖W0‖_F / √min(in, out)."""
ROUNDING = 1e-6
"""Share of a loss by which two may differ in fp32 and yet be equal."""
MOST_ROWS = 128
"""Examples that one call runs, of all variants together: more do not fit a core's cache."""


class Change(NamedTuple):
    """size · p qᵀ, added to the product of one matrix: p (out,), q (in,)."""

    matrix: str
    p: Tensor
    q: Tensor
    size: float


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
    adapter: Adapter,
    loss: Callable[[Batch], Tensor],
    learn_on: Sequence[Batch],
    judge_on: Sequence[Batch],
    most_rows: int = MOST_ROWS,
) -> Worth:
    """Take and give one direction in every matrix, one at a time; the adapter is afterwards as it was.

    The new direction: p and q are the leading singular vectors of −∂L/∂ΔW on ``learn_on``, which lower the loss fastest
    for their size; its size is the best of ``SIZES`` there. All else stays as trained.

    Args:
        adapter: of a model in evaluation mode.
        loss: mean loss of a batch; runs ``adapter.model`` once.
        learn_on: batches that the new direction is chosen on.
        judge_on: other batches, of one size.
        most_rows: examples that one call may run; 1 = one variant after the other.
    """
    matrices = adapter.matrices
    arrays = observe_before(
        adapter.config,
        {name: matrix.base for name, matrix in matrices.items()},
        ("gradients", "weights"),
        [lambda batch=batch: loss(batch) for batch in learn_on],
        {},
        None,
        None,
    )
    run = _Variants(adapter, loss, most_rows)
    taken = {name: change for name, matrix in matrices.items() if (change := _smallest(name, matrix)) is not None}
    fresh = {
        name: _steepest(name, matrix, arrays["gradients"][name], arrays["weights"][name])
        for name, matrix in matrices.items()
    }
    sized = _sized(run, list(fresh.values()), learn_on)
    # The adapter as it is comes first among its variants, so that all are rounded alike.
    whole, *found = run.losses([None, *taken.values(), *sized], judge_on)
    without, with_new = found[: len(taken)], found[len(taken) :]
    lost = {name: value - whole for name, value in zip(taken, without, strict=True)}
    return Worth(
        whole,
        {name: lost.get(name, float("nan")) for name in matrices},
        {name: whole - value for name, value in zip(fresh, with_new, strict=True)},
    )


def _sized(run: _Variants, fresh: Sequence[Change], batches: Sequence[Batch]) -> list[Change]:
    """Return the changes at the size, of ``SIZES`` times their own, that lowers the loss most; 0 where none does.

    Every second size upwards, until one is worse; then the two beside the best.
    """
    lowest = run.losses([None], batches) * len(fresh)
    best: list[int | None] = [None] * len(fresh)
    rising = set(range(len(fresh)))

    def attempt(asked: Mapping[int, int]) -> None:
        changes = [fresh[place]._replace(size=SIZES[size] * fresh[place].size) for place, size in asked.items()]
        for (place, size), value in zip(asked.items(), run.losses(changes, batches), strict=True):
            if value < lowest[place]:
                best[place], lowest[place] = size, value
            elif value > lowest[place] + ROUNDING * abs(lowest[place]):
                rising.discard(place)

    for size in range(0, len(SIZES), 2):
        attempt(dict.fromkeys(sorted(rising), size))
    for beside in (-1, 1):
        found = {place: size + beside for place, size in enumerate(best) if size is not None and not size % 2}
        attempt({place: size for place, size in found.items() if 0 <= size < len(SIZES)})
    sizes = [0.0 if size is None else SIZES[size] for size in best]
    return [change._replace(size=size * change.size) for change, size in zip(fresh, sizes, strict=True)]


class _Variants:
    """Runs variants of a model side by side."""

    def __init__(self, adapter: Adapter, loss: Callable[[Batch], Tensor], most_rows: int) -> None:
        self._matrices, self._model = adapter.matrices, adapter.model
        self._loss, self._most_rows = loss, most_rows

    @torch.no_grad()
    def losses(self, changes: Sequence[Change | None], batches: Sequence[Batch]) -> list[float]:
        """Return the mean loss over batches of each variant; None = without a change."""
        if not changes:
            return []
        found = [self._of_batch(changes, batch) for batch in batches]
        return np.mean(found, axis=0).tolist()

    def _of_batch(self, changes: Sequence[Change | None], batch: Batch) -> list[float]:
        rows = len(next(iter(batch.values())))
        count = max(1, self._most_rows // rows)
        found: list[float] = []
        for start in range(0, len(changes), count):
            found += self._together(changes[start : start + count], batch)
        return found

    def _together(self, changes: Sequence[Change | None], batch: Batch) -> list[float]:
        repeated = {key: value.repeat(len(changes), *[1] * (value.dim() - 1)) for key, value in batch.items()}
        seen: list[Any] = []
        with contextlib.ExitStack() as hooks:
            for place, change in enumerate(changes):
                if change is not None:
                    hooks.enter_context(_changed(self._matrices[change.matrix], change, place, len(changes)))
            hooks.enter_context(_removed(self._model.register_forward_hook(lambda *call: seen.append(call[-1]))))
            mean = float(self._loss(repeated))
        if len(changes) == 1:
            return [mean]
        parts = _each(getattr(seen[-1], "logits", None), repeated.get("labels"), len(changes))
        if parts is None or not abs(sum(parts) / len(parts) - mean) <= 1e-4 * (1.0 + abs(mean)):
            # A loss that is not the mean over examples of what these logits say: one variant at a time.
            self._most_rows = 1
            return [self._together([change], batch)[0] for change in changes]
        return parts


def _each(logits: Tensor | None, labels: Tensor | None, count: int) -> list[float] | None:
    """Return the loss of each of ``count`` equal parts of a batch; None where logits and labels do not tell it."""
    if logits is None or labels is None:
        return None
    logits = logits.float()
    if not labels.is_floating_point():
        if logits.dim() != 2 or labels.dim() != 1:
            return None
        return F.cross_entropy(logits, labels, reduction="none").reshape(count, -1).mean(1).tolist()
    if logits.numel() != labels.numel():
        return None
    return (logits.reshape(labels.shape) - labels).square().reshape(count, -1).mean(1).tolist()


@contextlib.contextmanager
def _removed(hook: Any) -> Iterator[None]:
    try:
        yield
    finally:
        hook.remove()


def _changed(matrix: FlexLoRALinear, change: Change, place: int, count: int) -> contextlib.AbstractContextManager[None]:
    """Add a change to rows of one of ``count`` equal parts of what the matrix is given."""

    def add(module: nn.Module, given: tuple[Any, ...], result: Tensor) -> Tensor:
        rows = len(given[0]) // count
        own = slice(place * rows, (place + 1) * rows)
        x = given[0][own].to(result.dtype)
        p, q = change.p.to(result), change.q.to(result)
        result[own] += (change.size * (x @ q)).unsqueeze(-1) * p
        return result

    return _removed(matrix.register_forward_hook(add))


def _smallest(name: str, matrix: FlexLoRALinear) -> Change | None:
    """Return the change that takes away the direction with the smallest |λ|; None where there is none."""
    if not matrix.slots:
        return None
    slot = matrix.slots[int(matrix.lam.detach()[matrix.slots].abs().argmin())]
    size = -matrix.scale * float(matrix.weights().detach()[slot])
    return Change(name, matrix.Pt.detach()[slot], matrix.Q.detach()[slot], size)


def _steepest(name: str, matrix: FlexLoRALinear, gradient: np.ndarray, weight: np.ndarray) -> Change:
    """Return the leading singular pair of −∂L/∂W, (out, in), with the unit of ``SIZES`` as its size."""
    wide = gradient.shape[0] <= gradient.shape[1]
    small = gradient if wide else gradient.T
    # Of the small product: a whole singular value decomposition would take longer than the measurement.
    first = np.linalg.eigh(small @ small.T)[1][:, -1]
    other = -(small.T @ first)
    other = other / max(float(np.linalg.norm(other)), np.finfo(np.float64).tiny)
    p, q = (first, other) if wide else (other, first)
    unit = float(np.linalg.norm(weight)) / np.sqrt(min(weight.shape))
    lam = matrix.lam
    return Change(name, torch.from_numpy(p.copy()).to(lam), torch.from_numpy(q.copy()).to(lam), unit)
