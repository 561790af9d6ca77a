"""An adapter as a list of matrices whose factors are read when they are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from analysis.adapters.files import AdapterError, TensorStore
from analysis.adapters.formats.peft_words import is_relative
from analysis.adapters.formats.record import LINEAR, Entry
from flexlora.brief import Brief

Place = tuple[int | None, str]
"""Layer and module type of a matrix."""


class AdapterMatrix(NamedTuple):
    """One adapted weight matrix; ΔW = scale · B A.

    ``in_features`` of a convolution counts its kernel; ``rank`` is never more than in or out. ``block`` names where the
    layer stands when the model has several stacks of layers: with ``module_type`` it is unlike that of any other matrix
    of the adapter; empty = the layer does.
    """

    name: str
    layer: int | None
    module_type: str
    in_features: int
    out_features: int
    rank: int
    scale: float
    block: str = ""
    layer_kind: str = LINEAR
    kernel: tuple[int, ...] = ()
    stored: int | None = None
    """Numbers that the file holds for it; None = rank · (in + out)."""

    @property
    def cost(self) -> int:
        """Parameters of one direction as PEFT stores it: in + out."""
        return self.in_features + self.out_features

    @property
    def parameters(self) -> int:
        """Numbers that the file holds for it."""
        return self.rank * self.cost if self.stored is None else self.stored


@dataclass(frozen=True, repr=False)
class Adapter(Brief):
    """An opened adapter.

    Attributes:
        name: of the folder, or of the file.
        format: key of ``FORMATS``: who wrote it.
        config: content of ``adapter_config.json``; None when there is none.
        kind: ``LORA``, ``ADALORA``, ``LOHA``, ``LOKR``, or several joined by " + ".
        label: the kind as people say it.
        matrices: in natural order of their names.
        carried: tensors beside the matrices, which a compressed adapter keeps as they are.
        skipped: module → why it is not analysed.
        notices: one line for each thing to know before believing the numbers.
        file: where the tensors lie.
        entries: name of a matrix → how its ΔW is made of them.
    """

    name: str
    format: str
    config: dict[str, Any] | None
    kind: str
    label: str
    matrices: list[AdapterMatrix]
    carried: list[str]
    skipped: dict[str, str]
    notices: list[str]
    file: TensorStore
    entries: dict[str, Entry]

    @property
    def parameters(self) -> int:
        """Numbers that the file holds for all matrices."""
        return sum(matrix.parameters for matrix in self.matrices)

    @property
    def starts_relative(self) -> bool:
        """True where the start changed the frozen weights too (PiSSA, OLoRA, ...): s · B A is not the whole change."""
        return is_relative(self.config)

    @property
    def base_model(self) -> str | None:
        """Name of the model that it was trained on, as its files say it."""
        config, said = self.config or {}, self.file.metadata
        found = config.get("base_model_name_or_path") or config.get("model")
        found = found or said.get("ss_sd_model_name") or said.get("general.base_model.0.name")
        return found if isinstance(found, str) and found else None

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
        """Return B (out, rank) and A (rank, in), float64; a diagonal between them is multiplied into A, s is not."""
        with np.errstate(all="ignore"):
            return self.entries[name].product.factors(self.file.read)

    def mapped(self, places: Mapping[str, Place]) -> Adapter:
        """Return the same adapter with the layer and module type of some matrices corrected.

        Raises:
            AdapterError: a matrix that the adapter does not have.
        """
        for name in places:
            self.find(name)
        matrices = [
            matrix._replace(layer=places[matrix.name][0], module_type=places[matrix.name][1], block="")
            if matrix.name in places
            else matrix
            for matrix in self.matrices
        ]
        return replace(self, matrices=matrices)
