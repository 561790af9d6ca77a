"""Half the bits of every number, instead of fewer directions: what rounding to 16 bits costs an adapter."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from analysis.adapters.adapter import Adapter
from analysis.adapters.compression import truncated
from analysis.adapters.doctor.nothing import HARDLY
from analysis.adapters.dtypes import rounded
from analysis.adapters.files import AdapterError
from analysis.adapters.sizes import FileSize
from analysis.adapters.words import in_bytes

HALVES = ("F16", "BF16")
"""16 bits each: F16 has 11 bits of mantissa and reaches 65,504; BF16 has 8 and the range of F32."""
ROOM = 1.1
"""How much larger a file still counts as like."""
_WIDE = ("F32", "F64")


class Half(NamedTuple):
    """The better of the types of 16 bits for an adapter.

    Attributes:
        dtype: one of ``HALVES``.
        error: ‖ΔW − ΔW'‖_F / ‖ΔW‖_F over all matrices, at the ranks that they have.
        other: why not the other one, in words.
    """

    dtype: str
    error: float
    other: str


def rounding_error(adapter: Adapter, dtype: str) -> float | None:
    """Return ‖ΔW − ΔW'‖_F / ‖ΔW‖_F over all matrices of an adapter written in a type at the ranks that it has.

    None where the type cannot hold the factors, and where they hold NaN or infinity.
    """
    lost = whole = 0.0
    for matrix in adapter.matrices:
        B, A = adapter.factors(matrix.name)
        if not (np.isfinite(B).all() and np.isfinite(A).all()):
            return None
        try:
            new_A, new_B = (np.asarray(rounded(factor, dtype), np.float64) for factor in truncated(B, A, matrix.rank))
        except AdapterError:
            return None
        # BA − B'A' as sums of small differences: the difference of two products would lose their digits.
        left, right = np.hstack([B, new_B]), np.vstack([A, -new_A])
        lost += matrix.scale**2 * max(0.0, float(np.sum((left.T @ left) * (right @ right.T))))
        whole += matrix.scale**2 * float(np.sum((B.T @ B) * (A @ A.T)))
    return float(np.sqrt(lost / whole)) if whole else 0.0


def best_half(adapter: Adapter) -> Half | None:
    """Return the type of 16 bits that changes ΔW least; None where neither holds the factors."""
    errors = {dtype: rounding_error(adapter, dtype) for dtype in HALVES}
    able = {dtype: error for dtype, error in errors.items() if error is not None}
    if not able:
        return None
    best = min(able, key=lambda dtype: able[dtype])
    other = next(dtype for dtype in HALVES if dtype != best)
    why = f"{other} by {able[other]:.2%}" if other in able else f"{other} cannot hold numbers this large"
    return Half(best, able[best], why)


def half_type(before: FileSize, in_half: FileSize, after: FileSize, error: float, half: Half) -> str:
    """Return that half the bits at the ranks there are cost less than ``after``'s directions; empty where not so."""
    if before.dtypes not in _WIDE or in_half.total > after.total * ROOM or error <= max(half.error, HARDLY):
        return ""
    return (
        f"{half.dtype} at the ranks it has takes {in_bytes(in_half.total)} ({in_half.total / max(1, before.total):.0%})"
        f" and changes ΔW by {half.error:.2%} ({half.other}); fewer directions take {in_bytes(after.total)} here and "
        f"change it by {error:.1%}."
    )
