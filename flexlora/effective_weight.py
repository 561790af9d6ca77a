"""``EffectiveWeight``: W0 + ΔW of an adapted layer, for models that read ``.weight`` instead of calling the layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from flexlora.errors import FlexLoRAError
from flexlora.frozen_layers import is_transposed

if TYPE_CHECKING:
    from flexlora.linear import FlexLoRALinear


class FrozenWeightError(FlexLoRAError, AttributeError):
    """Somebody writes into the weight of an adapted layer; who only asks whether that is possible is told no."""


class EffectiveWeight:
    """What ``layer.weight`` gives: type, device and shape at once, the values W0 + ΔW where somebody computes with it.

    T5 asks for the type before it calls the layer; Mamba and ``nn.MultiheadAttention`` multiply by the weight and never
    call the layer. Values are differentiable in P, λ and Q; making them costs a dense matrix, so what only asks for the
    type never does. Frozen: what writes into it is refused.
    """

    requires_grad = False

    def __init__(self, layer: FlexLoRALinear) -> None:
        self._layer = layer
        self._frozen = frozen = layer.frozen_weight()
        self.dtype, self.device = frozen.dtype, frozen.device
        self.shape = torch.Size((layer.out_features, layer.in_features))
        if is_transposed(layer.base):
            self.shape = self.shape[::-1]
        self.ndim, self.is_cuda = 2, frozen.is_cuda

    def size(self, dim: int | None = None) -> Any:
        """Return the shape, or one of its numbers."""
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        """Return 2."""
        return self.ndim

    def numel(self) -> int:
        """Return the number of values."""
        return self.shape.numel()

    def value(self) -> Tensor:
        """Return W0 + ΔW as the base stores it, a new tensor of its type.

        Raises:
            FlexLoRAError: the base is packed; there is no weight to add to.
        """
        layer, frozen = self._layer, self._frozen
        if not frozen.is_floating_point() or frozen.shape != self.shape:
            raise FlexLoRAError(
                f"The model computes with the weight of {layer.name} itself, and that is packed. Leave "
                f"{layer.name.rpartition('.')[2]} out by exclude_modules, or load the model unquantised."
            )
        delta = layer.scale * (layer.Pt.T * layer.weights()) @ layer.Q
        return frozen + (delta.T if is_transposed(layer.base) else delta).to(frozen.dtype)

    @property
    def data(self) -> Tensor:
        """Return the values, detached."""
        return self.value().detach()

    def __getattr__(self, key: str) -> Any:
        if key.startswith("__"):
            raise AttributeError(f"the weight of an adapted layer has no {key}.")
        if key.endswith("_"):
            name = self._layer.name
            raise FrozenWeightError(
                f"The model writes into the weight of {name} ({key}), which is W0 and ΔW made anew. Leave "
                f"{name.rpartition('.')[2]} out by exclude_modules, or switch that off in the model."
            )
        return getattr(self.value(), key)

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.value())

    # Compared as a tensor is, and hashed as one: by what it is, not by its values.
    def __hash__(self) -> int:
        return id(self)

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Compute with the values in its place."""
        return func(*_valued(tuple(args)), **_valued(dict(kwargs or {})))


def _as_tensor(name: str) -> Callable[..., Any]:
    def compute(self: EffectiveWeight, *others: Any) -> Any:
        return getattr(self.value(), name)(*_valued(others))

    compute.__name__ = name
    return compute


ARITHMETIC = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul")
OTHERS = ("neg", "pos", "abs", "getitem", "lt", "le", "gt", "ge", "eq", "ne")
for _name in (*ARITHMETIC, *(f"r{name}" for name in ARITHMETIC), *OTHERS):
    # Python looks for these on the class.
    setattr(EffectiveWeight, f"__{_name}__", _as_tensor(f"__{_name}__"))


def _valued(found: Any) -> Any:
    if isinstance(found, EffectiveWeight):
        return found.value()
    if isinstance(found, tuple | list):
        return type(found)(_valued(item) for item in found)
    if isinstance(found, dict):
        return {key: _valued(item) for key, item in found.items()}
    return found
