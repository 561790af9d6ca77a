"""What an adapter's file holds and takes, now and at other ranks, to the byte."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from analysis.adapters.adapter import Adapter, AdapterMatrix
from analysis.adapters.dtypes import DTYPES
from analysis.adapters.files import ITEM_BYTES, AdapterError, NewTensor, Tensor, written_bytes
from analysis.adapters.formats.peft import PREFIX, copy_word
from analysis.adapters.formats.record import EMBEDDING, EXPERT


@dataclass(frozen=True)
class FileSize:
    """Bytes of an adapter's weights file.

    Attributes:
        total: of the whole file, its header too.
        factors: of the low-rank factors.
        carried: of what stands beside them: heads, biases, magnitudes, layers that are not analysed.
        dtypes: types of the factors, such as "BF16", the most frequent first.
    """

    total: int
    factors: int
    carried: int
    dtypes: str


def size_now(adapter: Adapter) -> FileSize:
    """Return what the adapter's file takes."""
    tensors = list(_own_tensors(adapter).values())
    factors = sum(tensor.nbytes for tensor in tensors)
    whole = sum(tensor.nbytes for tensor in adapter.file.tensors.values())
    return FileSize(adapter.file.size, factors, whole - factors, _told([t.dtype for t in tensors]))


def size_at(adapter: Adapter, ranks: Mapping[str, int], dtype: str | None = None) -> FileSize:
    """Return what ``compress_adapter`` would write for these ranks; ``dtype`` as there."""
    factors, carried = planned_factors(adapter, ranks, dtype), carried_tensors(adapter)
    alone, beside = (sum(_bytes(t) for t in group.values()) for group in (factors, carried))
    total = written_bytes({**carried, **factors})
    return FileSize(total, alone, beside, _told([tensor.dtype for tensor in factors.values()]))


def planned_factors(adapter: Adapter, ranks: Mapping[str, int], dtype: str | None = None) -> dict[str, NewTensor]:
    """Return tensor name → type and shape of the factors at these ranks, still without numbers."""
    found = {}
    for matrix in adapter.matrices:
        rank = ranks[matrix.name]
        if not rank or matrix.layer_kind == EXPERT:
            continue
        shapes = written_shapes(matrix, rank)
        for part, name in written_names(matrix).items():
            found[name] = NewTensor(factor_dtype(adapter, matrix.name, part, dtype), shapes[part], bytes)
    return found


def written_shapes(matrix: AdapterMatrix, rank: int) -> dict[str, tuple[int, ...]]:
    """Return part (A or B) → the shape that PEFT gives it, of a convolution with its kernel."""
    inputs = (matrix.in_features // math.prod(matrix.kernel), *matrix.kernel)
    return {"A": (rank, *inputs), "B": (matrix.out_features, rank, *(1,) * len(matrix.kernel))}


def written_names(matrix: AdapterMatrix) -> dict[str, str]:
    """Return part (A or B) → the name that PEFT gives it in a file."""
    form = "lora_embedding_{}" if matrix.layer_kind == EMBEDDING else "lora_{}.weight"
    return {part: f"{PREFIX}{matrix.name}.{form.format(part)}" for part in "AB"}


def stored_factor(adapter: Adapter, matrix: str, part: str) -> Tensor:
    """Return the tensor that holds factor ``part`` (A or B) of a matrix, or the first one that it is made of."""
    tensors = adapter.entries[matrix].product.tensors
    return tensors[min("BA".index(part), len(tensors) - 1)]


def _own_tensors(adapter: Adapter) -> dict[str, Tensor]:
    return {tensor.name: tensor for entry in adapter.entries.values() for tensor in entry.product.tensors}


def carried_tensors(adapter: Adapter) -> dict[str, NewTensor]:
    """Return what is written as it is; second copies of factors are not, they would have another rank."""
    shared = [entry.product.tensors for entry in adapter.entries.values() if entry.layer_kind == EXPERT]
    own = set(_own_tensors(adapter)) - {tensor.name for tensors in shared for tensor in tensors}
    return {
        name: NewTensor(tensor.dtype, tensor.shape, partial(adapter.file.raw, name))
        for name, tensor in adapter.file.tensors.items()
        if name not in own and not (copy_word(name) and "lora_" in name) and ".lora_monteclora_sampler" not in name
    }


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
    return own if own in DTYPES else "F32"


def direction_bytes(adapter: Adapter, matrix: AdapterMatrix, dtype: str | None = None) -> int:
    """Return the bytes of one direction: a row of A and a column of B."""
    sides = (("A", matrix.in_features), ("B", matrix.out_features))
    return sum(ITEM_BYTES[factor_dtype(adapter, matrix.name, part, dtype)] * count for part, count in sides)


def _bytes(tensor: NewTensor) -> int:
    return math.prod(tensor.shape) * ITEM_BYTES[tensor.dtype]


def _told(dtypes: list[str]) -> str:
    return ", ".join(sorted(set(dtypes), key=lambda dtype: (-dtypes.count(dtype), dtype)))
