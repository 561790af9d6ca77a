"""The types in which factors are written: rounding to them, and their bytes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from analysis.adapters.files import AdapterError


def rounded(array: np.ndarray, dtype: str) -> np.ndarray:
    """Return float numbers rounded to a type, a key of ``DTYPES``, in an array that holds them exactly.

    Raises:
        AdapterError: an unknown type, or numbers that are not finite in it: no file gets NaN or infinity.
    """
    if dtype not in DTYPES:
        raise AdapterError(f"Unknown type {dtype!r}. Choose one of: {', '.join(DTYPES)}.")
    with np.errstate(over="ignore", invalid="ignore"):
        found = DTYPES[dtype](array)
    if not np.isfinite(found).all():
        wider = " or ".join(WIDER[dtype])
        raise AdapterError(
            f"The factors hold numbers too large for {dtype}."
            + (f" Write {wider}." if wider else " Nothing was written.")
        )
    return found


def stored(array: np.ndarray, dtype: str) -> bytes:
    """Return the bytes of an array that ``rounded`` returned, as a safetensors file holds them."""
    array = np.ascontiguousarray(array)
    return (array.view("<u4") >> 16).astype("<u2").tobytes() if dtype == "BF16" else array.tobytes()


def _bfloat16(array: np.ndarray) -> np.ndarray:
    """Round to the nearest bfloat16, the half way to even; returned as float32 with an empty lower half."""
    bits = array.astype("<f4").view("<u4")
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype("<u4").view("<f4")


DTYPES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "F64": lambda array: array.astype("<f8"),
    "F32": lambda array: array.astype("<f4"),
    "BF16": _bfloat16,
    "F16": lambda array: array.astype("<f2"),
}
"""Type of the factors in a written file → f(array) → the array rounded to it."""

WIDER: dict[str, tuple[str, ...]] = {"F16": ("F32", "BF16"), "BF16": ("F64",), "F32": ("F64",), "F64": ()}
"""Type → those that hold larger numbers."""
