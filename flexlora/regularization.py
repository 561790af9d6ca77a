"""The orthogonality regulariser that keeps λ a spectrum: forms, value and gradient."""

# torch's own optimizers are built on the _foreach functions; it does not declare them.
# pyright: reportPrivateImportUsage=false
from __future__ import annotations

import operator
from collections import defaultdict
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from flexlora.linear import FlexLoRALinear

Stack = tuple[list[Tensor], list[Tensor]]
"""Factors of one shape, (capacity, dim) each, and the masks (capacity,) that belong to them."""

Reduction = Callable[[Tensor, int], Tensor]
"""f(‖D‖²_F of each factor (n,), number of matrices) → contribution to the regulariser, a scalar."""


def mean_squared(squares: Tensor, matrices: int) -> Tensor:
    """Mean over matrices of ‖PᵀP − I‖²_F + ‖QQᵀ − I‖²_F (the default: the weakest form that keeps λ a spectrum)."""
    return squares.sum() / matrices


def sum_squared(squares: Tensor, matrices: int) -> Tensor:
    """Sum over matrices of ‖PᵀP − I‖²_F + ‖QQᵀ − I‖²_F."""
    return squares.sum()


def mean_norm(squares: Tensor, matrices: int) -> Tensor:
    """Mean over matrices of the un-squared norms, as in the released code."""
    return squares.clamp_min(torch.finfo(squares.dtype).tiny).sqrt().sum() / matrices


def _slope_of_norm(squares: Tensor, matrices: int) -> Tensor:
    tiny = torch.finfo(squares.dtype).tiny
    slope = torch.full_like(squares, 1.0 / matrices) / (2.0 * squares.clamp_min(tiny).sqrt())
    # Where the clamp holds, the value is constant.
    return torch.where(squares >= tiny, slope, 0.0).view(-1, 1, 1)


REGULARIZERS: dict[str, Reduction] = {"mean_squared": mean_squared, "sum_squared": sum_squared, "mean_norm": mean_norm}

SLOPES: dict[str, Callable[[Tensor, int], Tensor | float]] = {
    "mean_squared": lambda squares, matrices: 1.0 / matrices,
    "sum_squared": lambda squares, matrices: 1.0,
    "mean_norm": _slope_of_norm,
}
"""Derivative of each form by ‖D‖²_F of a factor, (n, 1, 1) or the same number for all."""


class Stacks:
    """The factors of all matrices by shape, gathered anew only when storage was replaced.

    Gathering them takes longer than the arithmetic: hundreds of attributes of modules at every step.
    """

    def __init__(self, matrices: Iterable[FlexLoRALinear]) -> None:
        self.matrices = list(matrices)
        self._seen: list[Tensor | None] = []
        self._found: list[Stack] = []

    def __len__(self) -> int:
        return len(self.matrices)

    def gathered(self) -> list[Stack]:
        """Return the stacks of the storage as it is now."""
        # Storage is replaced as a whole, so λ stands for P and Q; a mask can be moved to a device on its own.
        seen = [part for m in self.matrices for part in (m._parameters["lam"], m._buffers["mask"])]
        if len(seen) != len(self._seen) or any(map(operator.is_not, seen, self._seen)):
            self._seen, self._found = seen, _by_shape(self.matrices)
        return self._found


def orthogonality(matrices: Iterable[FlexLoRALinear] | Stacks, form: str = "mean_squared") -> Tensor:
    """Return the unweighted regulariser over active directions, a differentiable fp32 scalar.

    Args:
        matrices: the adapted matrices.
        form: a key of ``REGULARIZERS``.
    """
    stacks = matrices if isinstance(matrices, Stacks) else Stacks(matrices)
    reduce = REGULARIZERS[form]
    lam = stacks.matrices[0].lam
    total = lam.new_zeros(())
    with torch.autocast(lam.device.type, enabled=False):
        for factors, masks in stacks.gathered():
            residual = _residual(torch.stack(factors), torch.stack(masks))
            total = total + reduce(residual.square().sum((1, 2)), len(stacks))
    return total


@torch.no_grad()
def add_orthogonality_gradient(
    matrices: Iterable[FlexLoRALinear] | Stacks, weight: float, form: str = "mean_squared"
) -> Tensor:
    """Add the gradient of ``weight · orthogonality`` to ``.grad`` of P and Q; return the unweighted value.

    The closed form 4·D·M with D = MMᵀ − I costs about a quarter of the autograd graph. Called after clipping, so that
    the regulariser never changes how far the task gradient is clipped.
    """
    total, parameters, gradients = orthogonality_gradients(matrices, weight, form)
    grads = [parameter.grad for parameter in parameters]
    held = [grad for grad in grads if grad is not None]
    if len(held) < len(grads):
        for parameter, grad, gradient in zip(parameters, grads, gradients, strict=True):
            if grad is None:
                parameter.grad = gradient
        gradients = [gradient for gradient, grad in zip(gradients, grads, strict=True) if grad is not None]
    if held:
        # One call: on an accelerator every addition of its own costs a launch.
        torch._foreach_add_(held, gradients)
    return total


@torch.no_grad()
def orthogonality_gradients(
    matrices: Iterable[FlexLoRALinear] | Stacks, weight: float, form: str = "mean_squared", *, wide: bool = False
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Return the unweighted value, all P and Q, and the gradient of ``weight · orthogonality`` by each.

    ``wide``: all in at least fp32; else in the type of the parameters.
    """
    stacks = matrices if isinstance(matrices, Stacks) else Stacks(matrices)
    count = len(stacks)
    reduce = REGULARIZERS[form]
    total = 0.0
    parameters: list[Tensor] = []
    gradients: list[Tensor] = []
    for factors, masks in stacks.gathered():
        stacked = torch.stack(factors)
        if wide:
            stacked = stacked.to(torch.promote_types(torch.float32, stacked.dtype))
        squares, own = factor_gradients(stacked, torch.stack(masks), weight, form, count)
        total = total + reduce(squares, count)
        parameters.extend(factors)
        gradients.extend(own.unbind())
    return torch.as_tensor(total), parameters, gradients


def factor_gradients(
    stacked: Tensor, masks: Tensor, weight: float | Tensor, form: str, count: int
) -> tuple[Tensor, Tensor]:
    """Return ‖D‖²_F of each factor, D = MMᵀ − I, (n,), and the gradient of ``weight · orthogonality`` by it.

    Args:
        stacked: factors M of one shape, (n, capacity, dim).
        masks: 1.0 for an active slot, (n, capacity).
        weight: of the regulariser, a number or (n, 1, 1).
        form: a key of ``REGULARIZERS``.
        count: number of matrices in the regulariser.
    """
    residual = _residual(stacked, masks)
    squares = residual.square().sum((1, 2))
    # d value / dM = (G + Gᵀ) M with G = slope · 2D, symmetric because D is.
    outer = residual.mul_(2.0).mul_(SLOPES[form](squares, count)).mul_(2.0 * weight)
    return squares, outer @ stacked


def _residual(stacked: Tensor, masks: Tensor) -> Tensor:
    # (n, capacity, dim) → (n, capacity, capacity); empty slots are zero rows, so diag(mask) stands in for I.
    residual = stacked @ stacked.mT
    residual.diagonal(dim1=1, dim2=2).sub_(masks)
    return residual


def _by_shape(matrices: list[FlexLoRALinear]) -> list[Stack]:
    groups: dict[torch.Size, Stack] = defaultdict(lambda: ([], []))
    for matrix in matrices:
        for factor in (matrix.Pt, matrix.Q):
            factors, masks = groups[factor.shape]
            factors.append(factor)
            masks.append(matrix.mask)
    return list(groups.values())
