"""What PEFT calls things in a file: its prefix, its factors, and the second copies that it keeps of modules."""

from __future__ import annotations

import math

from analysis.adapters.adapter import AdapterMatrix
from analysis.adapters.formats.record import EMBEDDING

PREFIX = "base_model.model."
"""PEFT puts it before every module name."""

COPIES = ("modules_to_save", "original_module")


def copy_word(module: str) -> str | None:
    """Return which part of a name says that PEFT keeps a second copy of the factors there, or None."""
    return next((word for word in module.split(".") if word in COPIES), None)


def written_names(matrix: AdapterMatrix) -> dict[str, str]:
    """Return part (A or B) → the name that PEFT gives it in a file."""
    form = "lora_embedding_{}" if matrix.layer_kind == EMBEDDING else "lora_{}.weight"
    return {part: f"{PREFIX}{matrix.name}.{form.format(part)}" for part in "AB"}


def written_shapes(matrix: AdapterMatrix, rank: int) -> dict[str, tuple[int, ...]]:
    """Return part (A or B) → the shape that PEFT gives it, of a convolution with its kernel."""
    inputs = (matrix.in_features // math.prod(matrix.kernel), *matrix.kernel)
    return {"A": (rank, *inputs), "B": (matrix.out_features, rank, *(1,) * len(matrix.kernel))}
