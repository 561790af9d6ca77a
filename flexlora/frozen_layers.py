"""Frozen layers as the adapter meets them: which are only a product, and in what type they compute."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def frozen_linear(module: nn.Module) -> tuple[nn.Parameter, nn.Parameter | None] | None:
    """Return weight and bias of a layer that is only a product by both, frozen; None for any other.

    A layer that somebody hooks, patches, parametrises or trains is called instead.
    """
    # Asked for each layer in each pass: dictionaries are read, not attributes of a module, which are looked for.
    own = module.__dict__
    if type(module) is not nn.Linear and not is_transposed(module):
        return None
    # What is pruned or normalised by hooks has another parameter, of which its weight is made.
    weight, bias = own["_parameters"].get("weight"), own["_parameters"].get("bias")
    called = own["_forward_hooks"] or own["_forward_pre_hooks"] or own["_backward_hooks"] or own["_backward_pre_hooks"]
    if called or "forward" in own or type(weight) is not nn.Parameter or weight.requires_grad:
        return None
    if bias is not None and bias.requires_grad:
        return None
    return weight, bias


def is_transposed(module: nn.Module) -> bool:
    """True for GPT-2's ``Conv1D``, a linear layer that stores its weight as (in, out)."""
    return type(module).__name__ == "Conv1D" and "nf" in module.__dict__


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
