"""What an adapter's file holds and takes, now and at other ranks, to the byte."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from analysis.adapters.adapter import Adapter, AdapterMatrix
from analysis.adapters.dtypes import DTYPES
from analysis.adapters.files import ITEM_BYTES, AdapterError, NewTensor, Tensor, written_bytes
from analysis.adapters.keys import PREFIX, copy_word

_FACTORS = ("lora_A", "lora_B", "lora_E")


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
    tensors = [tensor for parts in adapter.parts.values() for part, tensor in parts.items() if part in _FACTORS]
    factors = sum(tensor.nbytes for tensor in tensors)
    whole = sum(tensor.nbytes for tensor in adapter.file.tensors.values())
    return FileSize(adapter.file.path.stat().st_size, factors, whole - factors, _told([t.dtype for t in tensors]))


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
        for part, shape in (("A", (rank, matrix.in_features)), ("B", (matrix.out_features, rank))):
            if rank:
                name = f"{PREFIX}{matrix.name}.lora_{part}.weight"
                found[name] = NewTensor(factor_dtype(adapter, matrix.name, part, dtype), shape, bytes)
    return found


def carried_tensors(adapter: Adapter) -> dict[str, NewTensor]:
    """Return what is written as it is; second copies of factors are not, they would have another rank."""
    own = {tensor.name for parts in adapter.parts.values() for part, tensor in parts.items() if part in _FACTORS}
    return {
        name: NewTensor(tensor.dtype, tensor.shape, partial(adapter.file.raw, name))
        for name, tensor in adapter.file.tensors.items()
        if name not in own and not (copy_word(name) and "lora_" in name)
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
    stored: Tensor | None = adapter.parts[matrix].get(f"lora_{part}")
    return stored.dtype if stored is not None and stored.dtype in DTYPES else "F32"


def direction_bytes(adapter: Adapter, matrix: AdapterMatrix, dtype: str | None = None) -> int:
    """Return the bytes of one direction: a row of A and a column of B."""
    sides = (("A", matrix.in_features), ("B", matrix.out_features))
    return sum(ITEM_BYTES[factor_dtype(adapter, matrix.name, part, dtype)] * count for part, count in sides)


def _bytes(tensor: NewTensor) -> int:
    return math.prod(tensor.shape) * ITEM_BYTES[tensor.dtype]


def _told(dtypes: list[str]) -> str:
    return ", ".join(sorted(set(dtypes), key=lambda dtype: (-dtypes.count(dtype), dtype)))
