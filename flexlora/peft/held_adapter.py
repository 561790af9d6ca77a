"""``HeldAdapter``: what ``attach`` made, taken out of the model again, for layers that hold several adapters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from torch import Tensor, nn

from flexlora.adapter import Adapter, places_of
from flexlora.adapter_config import AdapterConfig
from flexlora.adapter_files import check_exportable
from flexlora.beside import whole_modules
from flexlora.errors import FlexLoRAError
from flexlora.linear import FlexLoRALinear
from flexlora.methods import METHODS
from flexlora.peft.layer import FlexLoRALayer


class HeldAdapter(Adapter):
    """An adapter whose matrices are held by ``FlexLoRALayer``s: saved and merged by the ``PeftModel`` around them.

    Attributes:
        layers: what holds them.
    """

    layers: Sequence[FlexLoRALayer] = ()

    def add_regularization_gradient(self) -> Tensor:
        """Add the regulariser's gradient as ``Adapter`` does.

        Raises:
            FlexLoRAError: a step is about to be made with the adapter merged, which trains nothing of it.
        """
        if any(layer.merged for layer in self.layers):
            raise FlexLoRAError(
                "The adapter is merged into the weights, so nothing of it is trained: call model.unmerge_adapter() "
                "before training, or before training goes on."
            )
        return super().add_regularization_gradient()

    def merge(self, **more: Any) -> NoReturn:
        """Refuse: the PEFT model merges."""
        raise FlexLoRAError("This adapter belongs to a PEFT model: call model.merge_and_unload().")

    def save(self, folder: str | Path) -> NoReturn:
        """Refuse: the PEFT model saves."""
        raise FlexLoRAError("This adapter belongs to a PEFT model: call model.save_pretrained(folder).")

    export_peft = save


def made(model: nn.Module, method: str, config: AdapterConfig) -> tuple[HeldAdapter, list[str]]:
    """Make an adapter for a model, and leave the model as it was; return it, and the modules to train whole.

    The method's own ``attach`` makes it, so that vectors, slots and order are those that it has without PEFT.

    Raises:
        FlexLoRAError: what ``attach`` refuses, and what PEFT's files could not hold.
    """
    if nn.Linear(1, 1).weight.device.type == "meta":
        raise FlexLoRAError("The adapter would be made without values: leave low_cpu_mem_usage out, it is small.")
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    with _bare(model):
        try:
            adapter = METHODS[method].attach(model, config)
            places = places_of(model)
            try:
                check_exportable(adapter)
                whole = whole_modules(adapter)
            finally:
                for matrix in adapter.matrices.values():
                    for parent, child in places[id(matrix)]:
                        setattr(parent, child, matrix.base)
        finally:
            for parameter, flag in flags:
                if parameter.requires_grad != flag:
                    parameter.requires_grad_(flag)
    for matrix in adapter.matrices.values():
        _lend_base(matrix)
    held = HeldAdapter.__new__(HeldAdapter)
    held.__dict__.update(adapter.__dict__)
    return held, whole


def _lend_base(matrix: FlexLoRALinear) -> None:
    """Let the matrix use its frozen layer without holding it as a part: several matrices share one."""
    matrix.__dict__["base"] = matrix._modules.pop("base")


@contextmanager
def _bare(model: nn.Module) -> Iterator[None]:
    """Put the frozen layers back for a while, so that the model looks as before its first adapter."""
    places = places_of(model)
    layers = [module for module in model.modules() if isinstance(module, FlexLoRALayer)]
    try:
        for layer in layers:
            for parent, child in places[id(layer)]:
                setattr(parent, child, layer.base_layer)
        yield
    finally:
        for layer in layers:
            for parent, child in places[id(layer)]:
                setattr(parent, child, layer)
