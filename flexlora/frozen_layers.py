"""Frozen layers as the adapter meets them: which are only a product, and in what type they compute."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def frozen_linear(module: nn.Module) -> tuple[Tensor, Tensor | None] | None:
    """Return weight, as (in, out), and bias of a layer that is only ``x W + b`` with both frozen, None for any other.

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
    return (weight if transposed else weight.t()), bias


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


def is_distributed() -> bool:
    """True where other processes train the same model: each expects a gradient of every parameter from all of them."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()
