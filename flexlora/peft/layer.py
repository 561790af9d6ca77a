"""``FlexLoRALayer``: PEFT's protocol of several adapters, over one ``FlexLoRALinear`` for each adapter."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer, check_adapters_to_merge
from torch import Tensor, nn
from torch.nn.utils import parametrize

from flexlora.adapter import matrix_parameters
from flexlora.errors import FlexLoRAError
from flexlora.frozen_layers import is_transposed
from flexlora.linear import FlexLoRALinear, linear_shape, stored
from flexlora.merging import check_product, is_packed

BASE = "__base__"
"""PEFT's name, in a mixed batch, for a row that no adapter sees."""


class FlexLoRALayer(nn.Module, BaseTunerLayer):
    """Stands where a frozen layer stood, and sends what comes in through the adapters that are active.

    Attributes:
        base_layer: the frozen layer.
        flexlora_directions: adapter name → its ``FlexLoRALinear``, whose base is ``base_layer`` too.
        rows: adapter name of each row of a mixed batch, while one runs.
        beams: rows that generation makes of each of them.
    """

    adapter_layer_names = ("flexlora_directions",)
    other_param_names = ()

    def __init__(self, base_layer: nn.Module, active: str | list[str]) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.flexlora_directions = nn.ModuleDict()
        self.in_features, self.out_features = linear_shape(base_layer) or (0, 0)
        self.rows: Sequence[str] | None = None
        self.beams = 1
        self.merged_adapters = []
        self._disable_adapters = False
        self._active_adapter = active
        self._still: dict[str, list[int]] = {}

    def add(self, adapter_name: str, matrix: FlexLoRALinear) -> None:
        """Take in an adapter's matrix; what its method does not train now is never trained."""
        parameters = matrix_parameters(matrix)
        self._still[adapter_name] = [place for place, part in enumerate(parameters) if not part.requires_grad]
        self.flexlora_directions[adapter_name] = matrix

    def matrix(self, adapter_name: str) -> FlexLoRALinear:
        """Return an adapter's matrix."""
        found: Any = self.flexlora_directions[adapter_name]
        return found

    def trains_values(self, adapter_name: str) -> bool:
        """True when the method of this adapter trains λ."""
        return 1 not in self._still[adapter_name]

    def forward(self, x: Tensor, *args: Any, **more: Any) -> Tensor:
        """Map (..., in_features) to (..., out_features)."""
        if self.disable_adapters and self.merged:
            self.unmerge()
        if self.rows is not None and not self.disable_adapters:
            return self._mixed(x, self.rows)
        matrices = list(self._acting())
        if not matrices:
            return self.base_layer(x, *args, **more)
        y = matrices[0](x)
        for matrix in matrices[1:]:
            y = matrix.added(y, x)
        return y

    @property
    def weight(self) -> Any:
        """What a model gets that reads the weight: W0 + ΔW of the adapter that is active, as a single one acts.

        Of several at once it is W0, as in PEFT.
        """
        matrices = list(self._acting())
        return matrices[0].weight if len(matrices) == 1 else stored(self.base_layer)

    @torch.no_grad()
    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Add ΔW of adapters to the frozen weight; see ``PeftModel.merge_adapter``.

        Raises:
            FlexLoRAError: packed weights.
            ValueError: ``safe_merge``, and the sum is not finite.
        """
        for name in check_adapters_to_merge(self, adapter_names):
            if name not in self.flexlora_directions:
                continue
            check_product(self.matrix(name).name, self.matrix(name))
            weight = self._writable(name)
            merged = weight.double() + self._delta(name)
            if safe_merge and not torch.isfinite(merged).all():
                raise ValueError(f"ΔW of {name} in {self.matrix(name).name} is not finite: nothing was merged there.")
            weight.copy_(merged)
            self.merged_adapters.append(name)

    @torch.no_grad()
    def unmerge(self) -> None:
        """Take ΔW off again, last first; the weight is as before up to its rounding."""
        if not self.merged:
            warnings.warn("Already unmerged. Nothing to do.", stacklevel=2)
        while self.merged_adapters:
            name = self.merged_adapters.pop()
            weight = self._writable(name)
            weight.copy_(weight.double() - self._delta(name))

    def set_adapter(self, adapter_names: str | list[str], inference_mode: bool = False) -> None:
        """Make adapters active, and train them unless ``inference_mode``."""
        super().set_adapter(adapter_names, inference_mode=inference_mode)
        self._keep_still()

    def set_requires_grad(self, adapter_names: str | Sequence[str], requires_grad: bool = True) -> None:
        """Train adapters, or not."""
        super().set_requires_grad(adapter_names, requires_grad)
        self._keep_still()

    def delete_adapter(self, adapter_name: str) -> None:
        """Forget an adapter; another one becomes active."""
        self._still.pop(adapter_name, None)
        super().delete_adapter(adapter_name)

    def _acting(self) -> Iterator[FlexLoRALinear]:
        if not self.disable_adapters and not self.merged:
            yield from (self.matrix(name) for name in self.active_adapters if name in self.flexlora_directions)

    def _mixed(self, x: Tensor, rows: Sequence[str]) -> Tensor:
        if len(x) == len(rows) * self.beams:
            rows = [row for row in rows for _ in range(self.beams)]
        if len(rows) != len(x):
            raise FlexLoRAError(
                f"adapter_names has {len(rows)} names, and {type(self.base_layer).__name__} gets {len(x)} rows: this "
                "model does not keep one row an example, so batches cannot be mixed. Call it once for each adapter."
            )
        y = self.base_layer(x)
        for name in dict.fromkeys(rows):
            if name != BASE and name in self.flexlora_directions:
                own = torch.tensor([place for place, row in enumerate(rows) if row == name], device=x.device)
                y = y.index_copy(0, own, self.matrix(name).added(y[own], x[own]))
        return y

    def _delta(self, name: str) -> Tensor:
        delta = self.matrix(name).delta_weight()
        return delta.T if is_transposed(self.base_layer) else delta

    def _writable(self, name: str) -> Tensor:
        if is_packed(self.base_layer) or parametrize.is_parametrized(self.base_layer, "weight"):
            raise FlexLoRAError(
                f"The weight of {self.matrix(name).name} ({type(self.base_layer).__name__}) cannot be written to: save "
                "the adapter, and merge it into a model that is loaded unquantised."
            )
        return self.base_layer.get_parameter("weight")

    def _keep_still(self) -> None:
        for name, places in self._still.items():
            parameters = matrix_parameters(self.matrix(name))
            for place in places:
                parameters[place].requires_grad_(False)

    def extra_repr(self) -> str:
        """Shown by ``print(model)``."""
        return f"{self.in_features} → {self.out_features}"
