"""The orthogonality regulariser that keeps λ a spectrum: forms, value and gradient."""

# torch's own optimizers are built on the _foreach functions; it does not declare them.
# pyright: reportPrivateImportUsage=false
from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from flexlora.linear import FlexLoRALinear

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


REGULARIZERS: dict[str, Reduction] = {
    "mean_squared": mean_squared,
    "sum_squared": sum_squared,
    "mean_norm": mean_norm,
}


def orthogonality(matrices: Iterable[FlexLoRALinear], form: str = "mean_squared") -> Tensor:
    """Return the unweighted regulariser over active directions, a differentiable fp32 scalar.

    Args:
        matrices: the adapted matrices.
        form: a key of ``REGULARIZERS``.
    """
    matrices = list(matrices)
    reduce = REGULARIZERS[form]
    total = matrices[0].lam.new_zeros(())
    with torch.autocast(matrices[0].lam.device.type, enabled=False):
        for factors, masks in _stacks(matrices):
            residual = _residual(torch.stack(factors), torch.stack(masks))
            total = total + reduce(residual.square().sum((1, 2)), len(matrices))
    return total


@torch.no_grad()
def add_orthogonality_gradient(matrices: Iterable[FlexLoRALinear], weight: float, form: str = "mean_squared") -> Tensor:
    """Add the gradient of ``weight · orthogonality`` to ``.grad`` of P and Q; return the unweighted value.

    The closed form 4·D·M with D = MMᵀ − I costs about a quarter of the autograd graph. Called after clipping, so that
    the regulariser never changes how far the task gradient is clipped.
    """
    matrices = list(matrices)
    total = matrices[0].lam.new_zeros(())
    parameters: list[Tensor] = []
    gradients: list[Tensor] = []
    for factors, masks in _stacks(matrices):
        stacked = torch.stack(factors)
        residual = _residual(stacked, torch.stack(masks)).requires_grad_()
        with torch.enable_grad():
            value = REGULARIZERS[form](residual.square().sum((1, 2)), len(matrices))
        total += value.detach()
        (outer,) = torch.autograd.grad(value, residual)
        # d value / dM = (G + Gᵀ) M, with G symmetric because D is.
        parameters.extend(factors)
        gradients.extend((2.0 * weight * outer @ stacked).unbind())
    held, added = [], []
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if parameter.grad is None:
            parameter.grad = gradient
        else:
            held.append(parameter.grad)
            added.append(gradient)
    if held:
        # One call: on an accelerator every addition of its own costs a launch.
        torch._foreach_add_(held, added)
    return total


def _residual(stacked: Tensor, masks: Tensor) -> Tensor:
    # (n, capacity, dim) → (n, capacity, capacity); empty slots are zero rows, so diag(mask) stands in for I.
    return stacked @ stacked.mT - torch.diag_embed(masks)


def _stacks(matrices: list[FlexLoRALinear]) -> list[tuple[list[Tensor], list[Tensor]]]:
    groups: dict[torch.Size, tuple[list[Tensor], list[Tensor]]] = defaultdict(lambda: ([], []))
    for matrix in matrices:
        for factor in (matrix.Pt, matrix.Q):
            factors, masks = groups[factor.shape]
            factors.append(factor)
            masks.append(matrix.mask)
    return list(groups.values())
