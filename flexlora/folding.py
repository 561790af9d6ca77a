"""``Folding``: what the layers multiply by, Q̃ = s · diag(λ) Q and P in the type they compute in, made for all at once.

For each layer alone it would be six small kernels forward and eight backward; for all together it is a few for each
width. What is made serves every matrix once, in the pass in which it was made.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from flexlora.linear import FlexLoRALinear

Factors = tuple[Tensor, Tensor]
"""Q̃ (capacity, in) and P transposed (capacity, out) of one matrix, in the type that it computes in."""


class _Scaled(torch.autograd.Function):
    """Q̃ of several matrices of one width, from their λ and Q."""

    @staticmethod
    def forward(
        ctx: Any, spent: Callable[[], None], scales: Sequence[float], dtype: torch.dtype, *parts: Tensor
    ) -> tuple[Tensor, ...]:
        weights, rows = parts[: len(scales)], parts[len(scales) :]
        ctx.set_materialize_grads(False)
        ctx.spent, ctx.scales = spent, scales
        ctx.save_for_backward(*parts)
        flat = torch.cat(rows)
        made = torch.mul(flat, _scaled(weights, scales).unsqueeze(1), out=flat.new_empty(flat.shape, dtype=dtype))
        return made.split([len(part) for part in rows])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
        ctx.spent()
        count = len(ctx.scales)
        weights, rows = ctx.saved_tensors[:count], ctx.saved_tensors[count:]
        used = [place for place, gradient in enumerate(gradients) if gradient is not None]
        scales = [ctx.scales[place] for place in used]
        flat = torch.cat([gradient for gradient in gradients if gradient is not None])
        sizes = [len(rows[place]) for place in used]
        found: list[Tensor | None] = [None] * 2 * count
        needed = ctx.needs_input_grad[3:]
        if any(needed[place] for place in used):
            along = (flat * torch.cat([rows[place] for place in used])).sum(1).split(sizes)
            for place, scale, part in zip(used, scales, along, strict=True):
                found[place] = scale * part if needed[place] else None
        if any(needed[count + place] for place in used):
            by_lambda = flat * _scaled([weights[place] for place in used], scales).unsqueeze(1)
            for place, part in zip(used, by_lambda.split(sizes), strict=True):
                found[count + place] = part if needed[count + place] else None
        return None, None, None, *found


class _Cast(torch.autograd.Function):
    """Several factors of one width in another type."""

    @staticmethod
    def forward(ctx: Any, spent: Callable[[], None], dtype: torch.dtype, *rows: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.spent, ctx.dtype, ctx.sizes = spent, rows[0].dtype, [len(part) for part in rows]
        return torch.cat(rows).to(dtype).split(ctx.sizes)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
        ctx.spent()
        used = [place for place, gradient in enumerate(gradients) if gradient is not None]
        flat = torch.cat([gradient for gradient in gradients if gradient is not None]).to(ctx.dtype)
        found: list[Tensor | None] = [None] * len(gradients)
        for place, part in zip(used, flat.split([ctx.sizes[place] for place in used]), strict=True):
            found[place] = part
        return None, None, *found


def _scaled(weights: Sequence[Tensor], scales: Sequence[float]) -> Tensor:
    """Return s · λ of all, one after another."""
    if len(set(scales)) == 1:
        return scales[0] * torch.cat(list(weights))
    return torch.cat([scale * part for scale, part in zip(scales, weights, strict=True)])


class _Made(NamedTuple):
    """The factors of one matrix, and what they were made of."""

    factors: Factors
    parts: tuple[Tensor | None, ...]
    versions: tuple[int, ...]


class _Fold:
    """The factors of many matrices that were not asked for yet."""

    def __init__(self) -> None:
        self.waiting: dict[int, _Made] = {}

    def spend(self) -> None:
        """Called by the backward pass: what it went through once it cannot go through again."""
        self.waiting.clear()


class Folding:
    """Makes the factors of all matrices of an adapter together."""

    def __init__(self, matrices: Iterable[FlexLoRALinear]) -> None:
        self._matrices = list(matrices)
        self._folds: dict[tuple[torch.dtype, bool, bool], _Fold] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what was made: it belongs to a pass, and copies of a model share none."""
        return {**self.__dict__, "_folds": {}}

    def take(self, matrix: FlexLoRALinear, dtype: torch.dtype) -> Factors:
        """Return the factors of a matrix in a type, differentiable where gradients are switched on.

        They are made anew, for all matrices, when this one has had its own already or was written to since.
        """
        key = dtype, torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        fold = self._folds.get(key)
        made = fold.waiting.pop(id(matrix), None) if fold is not None else None
        if made is None or made.versions != _versions(made.parts) or not _same(made.parts, _parts(matrix)):
            fold = self._folds[key] = self._fold(dtype)
            made = fold.waiting.pop(id(matrix))
        return made.factors

    def _fold(self, dtype: torch.dtype) -> _Fold:
        fold = _Fold()
        # On a replica's thread, or where autocast is on, the casts are still those of the types asked for.
        with torch.autocast(self._matrices[0].lam.device.type, enabled=False):
            down = self._by_width(lambda m: m.Q, lambda own: _scaled_rows(fold, own, dtype))
            up = self._by_width(lambda m: m.Pt, lambda own: _cast_rows(fold, own, dtype))
        for matrix in self._matrices:
            parts = _parts(matrix)
            fold.waiting[id(matrix)] = _Made((down[id(matrix)], up[id(matrix)]), parts, _versions(parts))
        return fold

    def _by_width(
        self,
        rows: Callable[[FlexLoRALinear], Tensor],
        make: Callable[[list[FlexLoRALinear]], Sequence[Tensor]],
    ) -> dict[int, Tensor]:
        groups: dict[tuple[Any, ...], list[FlexLoRALinear]] = defaultdict(list)
        for matrix in self._matrices:
            part = rows(matrix)
            groups[part.device, part.dtype, part.shape[1]].append(matrix)
        return {
            id(matrix): part for own in groups.values() for matrix, part in zip(own, make(own), strict=True)
        }


def _scaled_rows(fold: _Fold, own: Sequence[FlexLoRALinear], dtype: torch.dtype) -> Sequence[Tensor]:
    scales = [matrix.scale for matrix in own]
    return _Scaled.apply(fold.spend, scales, dtype, *(m.weights() for m in own), *(m.Q for m in own))  # pyright: ignore[reportReturnType]


def _cast_rows(fold: _Fold, own: Sequence[FlexLoRALinear], dtype: torch.dtype) -> Sequence[Tensor]:
    rows = [matrix.Pt for matrix in own]
    return rows if rows[0].dtype == dtype else _Cast.apply(fold.spend, dtype, *rows)  # pyright: ignore[reportReturnType]


def _parts(matrix: FlexLoRALinear) -> tuple[Tensor | None, ...]:
    return matrix.Pt, matrix.lam, matrix.Q, matrix.gate


def _versions(parts: tuple[Tensor | None, ...]) -> tuple[int, ...]:
    # Tensors made in inference mode count no writes: they are taken as written to.
    return tuple(-1 if part is None or part.is_inference() else part._version for part in parts)


def _same(before: tuple[Tensor | None, ...], now: tuple[Tensor | None, ...]) -> bool:
    return all(one is other and (one is None or not one.is_inference()) for one, other in zip(before, now, strict=True))
