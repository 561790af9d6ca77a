"""What the files of a resized adapter will hold, told before any number of it is computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from analysis.adapters.adapter import Adapter, AdapterMatrix
from analysis.adapters.dtypes import DTYPES
from analysis.adapters.files import AdapterError, NewTensor, Tensor
from analysis.adapters.formats.products import LOW_RANK
from analysis.adapters.layout import ITEM_BYTES

Ranks = Mapping[str, int]
"""Matrix → directions that it keeps; 0 = it is left out."""

LOOSE_WEIGHTS = "pytorch_lora_weights.safetensors"
"""Name of a file of one's own where the input's would not be found again."""


class Factor(NamedTuple):
    """A tensor that a matrix is made of.

    Attributes:
        matrix: whose it is.
        part: "A" or "B"; another name for what is only ever copied.
        dtype: key of ``DTYPES``.
        shape: as it is stored.
        source: tensor of the input that has the same bytes; None = it is computed.
        transposed: it is stored as (in, r) or (r, out).
    """

    matrix: str
    part: str
    dtype: str
    shape: tuple[int, ...]
    source: str | None = None
    transposed: bool = False


@dataclass(frozen=True)
class Plan:
    """The files of a resized adapter.

    Attributes:
        weights: name of the file of tensors.
        factors: tensor → what it is; those of one matrix follow one another.
        copied: every other tensor of the file, with its bytes.
        scales: matrix → s as whoever loads the file will compute it; a matrix that is absent keeps the s that it has.
        metadata: texts in the header.
        config: f() → content of ``adapter_config.json``; None = the format has none.
        notices: what to know of how it is written, one line each.
    """

    weights: str
    factors: dict[str, Factor]
    copied: dict[str, NewTensor]
    scales: dict[str, float]
    metadata: dict[str, str]
    config: Callable[[], dict[str, Any]] | None
    notices: tuple[str, ...] = ()

    @property
    def factor_tensors(self) -> dict[str, NewTensor]:
        """Tensor → type and shape of each factor, still without numbers."""
        return {name: NewTensor(factor.dtype, factor.shape, bytes) for name, factor in self.factors.items()}


def stored_factor(adapter: Adapter, matrix: str, part: str) -> Tensor:
    """Return the tensor that holds factor ``part`` (A or B) of a matrix, or the first one that it is made of."""
    tensors = adapter.entries[matrix].product.tensors
    return tensors[min("BA".index(part), len(tensors) - 1)]


def factor_dtype(adapter: Adapter, matrix: str, part: str, dtype: str | None = None) -> str:
    """Return the type in which factor ``part`` (A or B) is written: ``dtype``, or its own where that is None.

    Raises:
        AdapterError: an unknown type.
    """
    if dtype is not None:
        if dtype not in DTYPES:
            raise AdapterError(f"Unknown type {dtype!r}. Choose one of: {', '.join(DTYPES)}.")
        return dtype
    own = stored_factor(adapter, matrix, part).dtype
    # Numbers of 8 bits are not written; BF16 is the smallest type that holds them.
    return own if own in DTYPES else "BF16" if own.startswith("F8") else "F32"


def direction_bytes(adapter: Adapter, matrix: AdapterMatrix, dtype: str | None = None) -> int:
    """Return the bytes of one direction: a row of A and a column of B."""
    sides = (("A", matrix.in_features), ("B", matrix.out_features))
    return sum(ITEM_BYTES[factor_dtype(adapter, matrix.name, part, dtype)] * count for part, count in sides)


def unchanged(adapter: Adapter, matrix: AdapterMatrix, rank: int, dtype: str | None) -> bool:
    """Return whether a low-rank matrix keeps its rank and the types of all of its tensors: nothing is computed then."""
    product = adapter.entries[matrix.name].product
    if product.form != LOW_RANK or rank != product.directions:
        return False
    return all(tensor.dtype == (dtype or tensor.dtype) and tensor.dtype in DTYPES for tensor in product.tensors)


def new_pair(
    adapter: Adapter,
    matrix: AdapterMatrix,
    rank: int,
    dtype: str | None,
    names: Mapping[str, str],
    shapes: Mapping[str, tuple[int, ...]],
    transposed: bool = False,
) -> dict[str, Factor]:
    """Return tensor → factor for A and B of a matrix, copied where they lie in the input just so.

    Args:
        adapter: what is resized.
        matrix: of it.
        rank: that it keeps.
        dtype: in which it is written; None = as it is.
        names: part → name of its tensor.
        shapes: part → shape of its tensor.
        transposed: as in ``Factor``.
    """
    same = adapter.entries[matrix.name].product.plain and unchanged(adapter, matrix, rank, dtype)
    return {
        names[part]: Factor(
            matrix.name,
            part,
            factor_dtype(adapter, matrix.name, part, dtype),
            shapes[part],
            stored_factor(adapter, matrix.name, part).name if same else None,
            transposed,
        )
        for part in "AB"
    }


def same_tensors(adapter: Adapter, matrix: AdapterMatrix) -> dict[str, Factor]:
    """Return tensor → factor for whatever a matrix is made of, all copied."""
    tensors = adapter.entries[matrix.name].product.tensors
    return {
        tensor.name: Factor(matrix.name, tensor.name, tensor.dtype, tensor.shape, tensor.name) for tensor in tensors
    }


def own_tensors(adapter: Adapter) -> dict[str, Tensor]:
    """Return the tensors that the matrices of an adapter are made of."""
    return {tensor.name: tensor for entry in adapter.entries.values() for tensor in entry.product.tensors}


def copied(adapter: Adapter, tensor: Tensor) -> NewTensor:
    """Return a tensor of the input as it is."""
    return NewTensor(tensor.dtype, tensor.shape, partial(adapter.file.raw, tensor.name))
