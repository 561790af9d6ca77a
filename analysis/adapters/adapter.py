"""``open_adapter``: a PEFT adapter as a list of matrices whose factors are read when they are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from analysis.adapters.files import AdapterError, Tensor, TensorFile, find_adapter
from analysis.adapters.keys import check_kind, sort_tensors
from analysis.adapters.scales import configured_rank, matrix_scale
from analysis.outside import expanded
from flexlora.matrix_names import describe_matrix

Place = tuple[int | None, str]
"""Layer and module type of a matrix."""

_RELATIVE = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""Initialisations that also change the frozen weights, so that ΔW is not counted from the pretrained ones."""


class AdapterMatrix(NamedTuple):
    """One adapted weight matrix; ΔW = scale · B A."""

    name: str
    layer: int | None
    module_type: str
    in_features: int
    out_features: int
    rank: int
    scale: float

    @property
    def cost(self) -> int:
        """Parameters of one direction as PEFT stores it: in + out."""
        return self.in_features + self.out_features


@dataclass(frozen=True)
class Adapter:
    """An opened adapter.

    Attributes:
        name: of the folder, or of the file.
        config: content of ``adapter_config.json``; None when there is none.
        kind: ``LORA`` or ``ADALORA``.
        matrices: in the order of the file.
        carried: tensors beside the matrices, which a compressed adapter keeps as they are.
        skipped: module → why it is not analysed.
        notices: one line for each thing to know before believing the numbers.
    """

    name: str
    config: dict[str, Any] | None
    kind: str
    matrices: list[AdapterMatrix]
    carried: list[str]
    skipped: dict[str, str]
    notices: list[str]
    file: TensorFile
    parts: dict[str, dict[str, Tensor]]

    @property
    def parameters(self) -> int:
        """Parameters of all directions: Σ rank · (in + out)."""
        return sum(matrix.rank * matrix.cost for matrix in self.matrices)

    @property
    def starts_relative(self) -> bool:
        """True where the start changed the frozen weights too (PiSSA, OLoRA, ...): s · B A is not the whole change."""
        return _start(self.config).startswith(_RELATIVE)

    def find(self, name: str) -> AdapterMatrix:
        """Return a matrix by name.

        Raises:
            AdapterError: there is none of this name.
        """
        if name not in self._by_name:
            raise AdapterError(f"The adapter has no matrix {name!r}. It has {len(self.matrices)}, see the table.")
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, AdapterMatrix]:
        return {matrix.name: matrix for matrix in self.matrices}

    def factors(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return B (out, r) and A (r, in), float64; AdaLoRA's λ is multiplied into A, the scale is not."""
        parts = self.parts[name]
        A, B = self.file.read(parts["lora_A"].name), self.file.read(parts["lora_B"].name)
        if "lora_E" in parts:
            A = A * self.file.read(parts["lora_E"].name)
        return B, A

    def mapped(self, places: Mapping[str, Place]) -> Adapter:
        """Return the same adapter with the layer and module type of some matrices corrected.

        Raises:
            AdapterError: a matrix that the adapter does not have.
        """
        for name in places:
            self.find(name)
        matrices = [
            matrix._replace(layer=places[matrix.name][0], module_type=places[matrix.name][1])
            if matrix.name in places
            else matrix
            for matrix in self.matrices
        ]
        return replace(self, matrices=matrices)


def open_adapter(path: str | Path) -> Adapter:
    """Open a PEFT adapter: a folder, or a safetensors file.

    LoRA (also rsLoRA and weight-decomposed) and AdaLoRA, of linear layers. No weights are read yet.

    Raises:
        AdapterError: what is there is no such adapter, in one line that says what to do.
    """
    weights, config = find_adapter(path)
    file = TensorFile(weights)
    kind = check_kind(config, file.tensors)
    contents = sort_tensors(file.tensors, config)
    matrices, notices = [], _notices(config, contents.factors)
    for module, parts in contents.factors.items():
        rank, in_features = parts["lora_A"].shape
        layer, module_type = describe_matrix(module)
        scale = matrix_scale(config, kind, module, rank) if rank else 0.0
        matrices.append(AdapterMatrix(module, layer, module_type, in_features, parts["lora_B"].shape[0], rank, scale))
        asked = configured_rank(config, kind, module)
        if asked is not None and asked != rank:
            notices.append(
                f"{module} has rank {rank} in the file but {asked} in the configuration; the file's is used."
            )
    if not matrices:
        reasons = ", ".join(sorted(set(contents.skipped.values())))
        raise AdapterError(f"No linear layer is adapted here, only: {reasons}. There is nothing to analyse.")
    name = expanded(path, AdapterError).resolve().name
    return Adapter(name, config, kind, matrices, contents.carried, contents.skipped, notices, file, contents.factors)


def _start(config: Mapping[str, Any] | None) -> str:
    return str((config or {}).get("init_lora_weights", "")).lower()


def _notices(config: Mapping[str, Any] | None, factors: Mapping[str, Mapping[str, Tensor]]) -> list[str]:
    found = []
    if config is None:
        found.append("No adapter_config.json: the scale alpha / r is unknown and taken as 1. Only norms depend on it.")
    decomposed = sum("lora_magnitude_vector" in parts for parts in factors.values())
    if decomposed:
        found.append(
            f"Weight-decomposed (DoRA) in {decomposed} matrices: what is shown is s · B A. The learned magnitudes "
            "rescale the rows of W0 + s · B A and need the base model."
        )
    start = _start(config)
    if start.startswith(_RELATIVE):
        found.append(
            f"Initialised by {start}, which changes the frozen weights too: s · B A is not the change from the "
            "pretrained ones unless the adapter was converted when it was saved."
        )
    return found
