"""What an adapter's files hold of a model beside P, λ and Q: the head, statistics that moved, and what they lie in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from flexlora.linear import FlexLoRALinear, linear_shape
from flexlora.merging import is_packed
from flexlora.targets import plain_name

if TYPE_CHECKING:
    from flexlora.adapter import Adapter


def buffers_of(model: nn.Module) -> dict[str, Tensor]:
    """Return name → buffer that a state dictionary holds, without packed weights, which nothing moves."""
    return dict(_buffers(model, ""))


def _buffers(module: nn.Module, prefix: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(module, FlexLoRALinear):
        yield from _buffers(module.base, f"{prefix}base.")
        return
    # Not asked of a parametrised weight, which may be another one each time.
    if linear_shape(module) is not None and not parametrize.is_parametrized(module) and is_packed(module):
        return
    for key, value in module._buffers.items():
        if value is not None and key not in module._non_persistent_buffers_set:
            yield prefix + key, value
    for key, child in module._modules.items():
        if child is not None:
            yield from _buffers(child, f"{prefix}{key}.")


def moved_buffers(adapter: Adapter) -> list[str]:
    """Return the names of the buffers whose values training has changed, such as a ``BatchNorm``'s running mean."""
    before = adapter.buffers_before
    now = buffers_of(adapter.model)
    return [name for name, value in now.items() if not _same(before.get(plain_name(name)), value)]


def _same(before: Tensor | None, now: Tensor) -> bool:
    if before is None or before.shape != now.shape or before.dtype != now.dtype:
        return False
    return torch.equal(before, now.detach().to(before.device))


def whole_modules(adapter: Adapter) -> list[str]:
    """Return the modules that hold what is trained or moves beside the adapter, each as high as all in it is trained.

    A module that holds such a thing itself is taken with all that is in it.
    """
    trained = {id(adapter.model.get_parameter(name)) for name in adapter.head}
    moved = {name.rpartition(".")[0] for name in moved_buffers(adapter)}
    found = []
    for name, module in adapter.model.named_modules(remove_duplicate=False):
        parameters = list(module.parameters())
        if not name or any(name.startswith(f"{above}.") for above in found):
            continue
        direct = name in moved or {id(parameter) for parameter in module.parameters(recurse=False)} & trained
        if direct or (parameters and all(id(parameter) in trained for parameter in parameters)):
            found.append(name)
    return sorted(map(plain_name, found))


def values_beside(adapter: Adapter) -> dict[str, Tensor]:
    """Return name → all values of ``whole_modules``, and of what is trained outside of them; the model's own tensors.

    A value that several modules share has a name for each.
    """
    whole = tuple(f"{name}." for name in whole_modules(adapter))
    own = tuple(f"{name}." for name in adapter.matrices)
    named = dict(adapter.model.named_parameters(remove_duplicate=False)) | buffers_of(adapter.model)
    loose = {plain_name(name) for name in (*adapter.head, *moved_buffers(adapter))}
    plain = {plain_name(name): value for name, value in named.items()}
    return {n: v for n, v in plain.items() if n in loose or (n.startswith(whole) and not n.startswith(own))}


def first_names(values: dict[str, Tensor]) -> dict[str, str]:
    """Return name → the first name of the same tensor, itself where it is the first."""
    seen: dict[int, str] = {}
    return {name: seen.setdefault(id(value), name) for name, value in values.items()}
