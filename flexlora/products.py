"""``y = W0 x + P (Q̃ x)`` with ``Q̃ = s · diag(λ) Q``: one node of the graph a layer."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class AdaptedProduct(torch.autograd.Function):
    """A frozen linear layer plus a product of low rank.

    Of the forward pass it keeps x and h = Q̃ x, and of the backward pass it needs no tensor as large as y or dx beside
    them: both products of low rank are added in place, in the epilogue of their multiplication. Two multiplications,
    one addition and the casts of a layer written in modules are thus not launched.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, q: Tensor, p: Tensor) -> Tensor:
        """Return y, (..., out).

        Args:
            ctx: of this call.
            x: (..., in), of one type with the others.
            weight: (out, in), frozen.
            bias: (out,), frozen, or None.
            q: Q̃, (slots, in).
            p: P transposed, (slots, out).
        """
        y = F.linear(x, weight, bias)
        inputs = x.reshape(-1, x.shape[-1])
        h = F.linear(inputs, q)
        y.view(-1, y.shape[-1]).addmm_(h, p)
        ctx.save_for_backward(x, weight, q, p, h)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, None, None, Tensor | None, Tensor | None]:
        """Return the gradients of x, Q̃ and P transposed, each where it is asked for."""
        x, weight, q, p, h = ctx.saved_tensors
        wants_x, _, _, wants_q, wants_p = ctx.needs_input_grad
        outward, inputs = dy.reshape(-1, dy.shape[-1]), x.reshape(-1, x.shape[-1])
        again = torch.is_grad_enabled()
        if again:
            # A second derivative needs h as a function of x and Q̃.
            h = F.linear(inputs, q)
        dh = F.linear(outward, p)
        dp = h.t() @ outward if wants_p else None
        dq = dh.t() @ inputs if wants_q else None
        dx = None
        if wants_x:
            dx = outward @ weight
            dx = (torch.addmm(dx, dh, q) if again else dx.addmm_(dh, q)).view(x.shape)
        return dx, None, None, dq, dp


def frozen_linear(module: nn.Module) -> tuple[Tensor, Tensor | None] | None:
    """Return weight (out, in) and bias of a layer that is only ``x Wᵀ + b`` with both frozen, None for any other.

    A layer that somebody hooks, patches, parametrises or trains is called instead.
    """
    # Asked for each layer in each pass: dictionaries are read, not attributes of a module, which are looked for.
    own = module.__dict__
    transposed = type(module) is not nn.Linear
    if transposed and (type(module).__name__ != "Conv1D" or "nf" not in own):
        return None
    weight, bias = own["_parameters"]["weight"], own["_parameters"]["bias"]
    called = own["_forward_hooks"] or own["_forward_pre_hooks"] or own["_backward_hooks"] or own["_backward_pre_hooks"]
    if called or "forward" in own or type(weight) is not nn.Parameter or weight.requires_grad:
        return None
    if bias is not None and bias.requires_grad:
        return None
    return (weight.t() if transposed else weight), bias


def computes_in(x: Tensor, weight: Tensor) -> torch.dtype:
    """Return the type in which a linear layer multiplies: autocast's where it is on, but never less than float64."""
    kind = x.device.type
    if torch.is_autocast_enabled(kind) and weight.dtype != torch.float64:
        return torch.get_autocast_dtype(kind)
    return weight.dtype


def is_traced() -> bool:
    """True while a compiler or a transform of ``torch.func`` looks through the operations instead of running them."""
    # The question that torch.autograd.Function itself asks.
    return torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()
