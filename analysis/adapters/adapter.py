"""``open_adapter``: an adapter as a list of matrices whose factors are read when they are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from analysis.adapters.files import AdapterError, TensorStore
from analysis.adapters.formats import Entry, Opened, read_contents
from analysis.adapters.formats.peft_words import is_relative
from analysis.adapters.formats.products import LOW_RANK
from analysis.adapters.formats.record import LINEAR
from analysis.adapters.places import find_adapter
from flexlora.matrix_places import natural_order, place_matrices

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


@dataclass(frozen=True)
class Adapter:
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


def open_adapter(path: str | Path) -> Adapter:
    """Open an adapter in any of ``FORMATS``: a folder, a file, a zip, or ``owner/name`` of the hub (as text).

    No weights are read yet.

    Raises:
        SeveralAdapters: a folder that holds more than one.
        AdapterError: what is there is no such adapter, in one line that says what to do.
    """
    found = find_adapter(path)
    key, contents = read_contents(Opened(found.store, found.config))
    entries = sorted(contents.entries, key=lambda entry: natural_order(entry.name))
    if not entries:
        reasons = ", ".join(sorted(set(contents.skipped.values())))
        raise AdapterError(f"No weight is adapted here, only: {reasons}. There is nothing to analyse.")
    places = place_matrices([entry.name for entry in entries])
    matrices = [
        AdapterMatrix(
            entry.name,
            places[entry.name].layer,
            places[entry.name].module_type,
            entry.product.shape[1],
            entry.product.shape[0],
            entry.product.rank,
            entry.scale,
            places[entry.name].block,
            entry.layer_kind,
            entry.kernel,
            entry.product.parameters,
        )
        for entry in entries
    ]
    return Adapter(
        found.name,
        key,
        found.config,
        contents.kind,
        contents.label,
        matrices,
        contents.carried,
        contents.skipped,
        [*contents.notices, *_notices(entries), *_beside(found.beside)],
        found.store,
        {entry.name: entry for entry in entries},
    )


def _notices(entries: list[Entry]) -> list[str]:
    """Return what is to know of ranks, one line a kind and not one a matrix."""
    found = []
    unlike = [e for e in entries if e.asked_rank is not None and e.asked_rank != e.product.directions]
    if unlike:
        first = unlike[0]
        more = f", and {len(unlike) - 1} more" if len(unlike) > 1 else ""
        found.append(
            f"{first.name} has rank {first.product.directions} in the file but {first.asked_rank} in the configuration"
            f"{more}; the file's is used."
        )
    wide = [e for e in entries if e.product.directions > e.product.rank and LOW_RANK in e.product.form]
    if wide:
        first = wide[0]
        more = f", and {len(wide) - 1} more" if len(wide) > 1 else ""
        found.append(
            f"{first.name} is stored at r = {first.product.directions}, but {first.product.shape[0]} × "
            f"{first.product.shape[1]} has at most {first.product.rank} directions{more}: rank is counted as that."
        )
    return found


def _beside(names: list[str]) -> list[str]:
    if not names:
        return []
    told = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    return [f"Folders below hold adapters of their own, which are not opened here: {told}."]
