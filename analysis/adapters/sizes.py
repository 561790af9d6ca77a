"""What an adapter's file holds and takes, now and at other ranks, to the byte."""

from __future__ import annotations

import math
from dataclasses import dataclass

from analysis.adapters.adapter import Adapter
from analysis.adapters.files import NewTensor, written_bytes
from analysis.adapters.formats.plan import Plan, Ranks, own_tensors
from analysis.adapters.layout import ITEM_BYTES
from analysis.adapters.plans import SAME, planned


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
    tensors = list(own_tensors(adapter).values())
    factors = sum(tensor.nbytes for tensor in tensors)
    whole = sum(tensor.nbytes for tensor in adapter.file.tensors.values())
    return FileSize(adapter.file.size, factors, whole - factors, _told([t.dtype for t in tensors]))


def size_at(adapter: Adapter, ranks: Ranks, dtype: str | None = None, form: str = SAME) -> FileSize:
    """Return what ``compress_adapter`` would write for these ranks; ``dtype`` and ``form`` as there."""
    return plan_size(planned(adapter, ranks, dtype, form))


def plan_size(plan: Plan) -> FileSize:
    """Return what the weights file of a plan takes."""
    factors = plan.factor_tensors
    alone, beside = (sum(_bytes(t) for t in group.values()) for group in (factors, plan.copied))
    total = written_bytes({**plan.copied, **factors}, plan.metadata)
    return FileSize(total, alone, beside, _told([tensor.dtype for tensor in factors.values()]))


def _bytes(tensor: NewTensor) -> int:
    return math.prod(tensor.shape) * ITEM_BYTES[tensor.dtype]


def _told(dtypes: list[str]) -> str:
    return ", ".join(sorted(set(dtypes), key=lambda dtype: (-dtypes.count(dtype), dtype)))
