"""``merge``: ΔW goes into the frozen weights, and plain layers stand where adapted ones stood."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from flexlora.errors import FlexLoRAError
from flexlora.frozen_layers import frozen_linear, is_transposed
from flexlora.linear import FlexLoRALinear, stored

if TYPE_CHECKING:
    from flexlora.adapter import Adapter

HOOKS = ("_forward_pre_hooks", "_forward_pre_hooks_with_kwargs", "_forward_hooks", "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called", "_backward_pre_hooks", "_backward_hooks")  # fmt: skip


@torch.no_grad()
def merge(adapter: Adapter, dtype: torch.dtype | None, *, dequantize: bool) -> nn.Module:
    """Do what ``Adapter.merge`` says."""
    from flexlora.adapter import places_of

    if adapter.merged:
        return adapter.model
    for name, matrix in adapter.matrices.items():
        if hasattr(stored(matrix.base), "full_tensor"):
            raise FlexLoRAError(
                f"The weight of {name} is sharded over processes. Export it, and merge into a model that is whole."
            )
    packed = [name for name, matrix in adapter.matrices.items() if is_packed(matrix.base)]
    if packed and not dequantize:
        raise FlexLoRAError(
            f"The weight of {packed[0]} ({type(adapter.matrices[packed[0]].base).__name__}) is packed: ΔW cannot be "
            "added to it. merge(dequantize=True) makes plain layers of such; export_peft needs no merging."
        )
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise FlexLoRAError(
            f"merge(dtype={dtype!r}) is no floating-point type of torch. Use torch.float32, for example."
        )
    adapter.clear_empty()
    for name, matrix in adapter.matrices.items():
        check_product(name, matrix)
    users = weight_users(adapter.model)
    places = places_of(adapter.model)
    for matrix in adapter.matrices.values():
        base = _merged(matrix, dtype, users)
        for kind in HOOKS:
            # What somebody hooked onto the adapted layer.
            getattr(base, kind).update(getattr(matrix, kind))
        for parent, child in places[id(matrix)]:
            setattr(parent, child, base)
    adapter.merged = True
    return adapter.model


def check_product(name: str, matrix: FlexLoRALinear) -> None:
    """Raise ``FlexLoRAError`` when a layer does more than multiply by its weight and add its bias.

    Such as a subclass with a ``forward`` of its own, or one with hooks: ΔW in its weight would be changed, too. Asked
    of the layer by random inputs, as it evaluates.
    """
    base = matrix.base
    if isinstance(base.__dict__.get("weight"), Tensor):
        raise FlexLoRAError(
            f"The weight of {name} is made anew at each call, by nn.utils.prune or an older weight_norm or "
            "spectral_norm: ΔW would be lost. End that first (prune.remove, remove_weight_norm), or use save() or "
            "export_peft."
        )
    if frozen_linear(base) is not None or is_packed(base):
        return
    weight, bias = stored(base).detach(), getattr(base, "bias", None)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, matrix.in_features, generator=generator).to(weight.device, weight.dtype)
    wanted = nn.functional.linear(x, weight.T if is_transposed(base) else weight, bias)
    training = base.training
    try:
        found = base.eval()(x)
    except Exception as error:
        found, told = None, f"it does not take a batch of vectors ({type(error).__name__})"
    else:
        told = "it does more than multiply by its weight"
    finally:
        base.train(training)
    step = torch.finfo(weight.dtype).eps ** 0.5
    if not isinstance(found, Tensor) or found.shape != wanted.shape or (found - wanted).norm() > step * wanted.norm():
        raise FlexLoRAError(
            f"{name} ({type(base).__name__}, its hooks included) cannot be merged: {told}, also of ΔW. "
            "save() and load_adapter, or export_peft, keep ΔW beside it."
        )


def is_packed(base: nn.Module) -> bool:
    """True when a layer's weight is not a plain matrix of floats that can be written to."""
    weight = stored(base)
    if parametrize.is_parametrized(base, "weight"):
        return False
    plain = type(weight) in (nn.Parameter, Tensor) and weight.is_floating_point() and weight.element_size() > 1
    return not plain or weight.dim() != 2


def plain_linear(base: nn.Module, shape: tuple[int, int]) -> nn.Linear:
    """Return an ``nn.Linear`` with the weight that a layer of packed weights acts with, asked of it row by row.

    Args:
        base: any layer that maps (n, in) to (n, out) by a matrix and a bias.
        shape: (in_features, out_features).
    """
    held = stored(base)
    kind = held.dtype if held.is_floating_point() and held.element_size() > 1 else _computes_in(base)
    rows = torch.eye(shape[0], dtype=kind, device=held.device)
    bias = base(rows.new_zeros(1, shape[0]))
    weight = (base(rows) - bias).T
    found = nn.Linear(*shape, bias=getattr(base, "bias", None) is not None, device=held.device, dtype=weight.dtype)
    found.weight.copy_(weight)
    if found.bias is not None:
        found.bias.copy_(bias[0])
    return found.requires_grad_(False)


def _merged(matrix: FlexLoRALinear, dtype: torch.dtype | None, users: Counter[int]) -> nn.Module:
    base = matrix.base
    if is_packed(base):
        base = plain_linear(base, (matrix.in_features, matrix.out_features))
    elif parametrize.is_parametrized(base, "weight"):
        weight = stored(base).detach().clone()
        parametrize.remove_parametrizations(base, "weight", leave_parametrized=True)
        del base.weight
        base.weight = nn.Parameter(weight, requires_grad=False)
    if dtype is not None:
        # A new parameter, so that who shares the weight keeps its own.
        base.weight = nn.Parameter(stored(base).to(dtype, copy=True), requires_grad=False)
        if getattr(base, "bias", None) is not None:
            base.bias = nn.Parameter(base.get_parameter("bias").to(dtype), requires_grad=False)
    elif users[id(base.weight)] > 1:
        base.weight = nn.Parameter(stored(base).clone(), requires_grad=False)
    delta = matrix.delta_weight()
    weight = base.get_parameter("weight")
    weight.copy_(weight.double() + (delta.T if is_transposed(base) else delta).double())
    return base


def weight_users(model: nn.Module) -> Counter[int]:
    """Return id of a parameter → number of modules that hold it."""
    return Counter(id(p) for module in model.modules() for p in module._parameters.values() if p is not None)


def _computes_in(base: nn.Module) -> torch.dtype:
    own = getattr(base, "compute_dtype", None)
    return own if isinstance(own, torch.dtype) else torch.get_default_dtype()
