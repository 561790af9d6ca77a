"""Adapters, or parts of them, that do nothing: alpha = 0, B = 0, directions that are never used."""

from __future__ import annotations

import numpy as np

from analysis.adapters.comparison import RELATIVE_TOLERANCE
from analysis.adapters.doctor.finding import LOOK, NOTE, WRONG, Check, Examined, Finding

LATE = 0.5
"""Above this share of dead matrices something is wrong with the training rather than with a few modules."""


def _alpha_zero(examined: Examined) -> Finding | None:
    found = [matrix.name for matrix in examined.adapter.matrices if matrix.scale == 0 and matrix.rank]
    if not found:
        return None
    return Finding(
        "alpha_zero",
        WRONG,
        f"alpha = 0 {examined.named(found)}: s = alpha / r = 0, so ΔW = 0 whatever was trained.",
        "Set lora_alpha in adapter_config.json to what it was trained with.",
        len(found),
        tuple(found),
    )


def _dead(examined: Examined) -> Finding | None:
    scaled = [matrix.name for matrix in examined.adapter.matrices if matrix.scale != 0 and matrix.rank]
    found = [name for name in scaled if examined.factors[name].B_zero or examined.factors[name].A_zero]
    if not found:
        return None
    factor = "B" if all(examined.factors[name].B_zero for name in found) else "A or B"
    every = len(found) > LATE * len(scaled)
    return Finding(
        "dead",
        WRONG if every else LOOK,
        f"{factor} = 0 {examined.named(found)}: ΔW = 0 there, as before the first step.",
        "It was saved before training, or the optimizer never held these parameters: look at requires_grad and at what "
        "was saved."
        if every
        else "No gradient reached them. Leave them out of target_modules, or find out why they are not used.",
        len(found),
        tuple(found),
    )


def _unused(examined: Examined) -> Finding | None:
    counts = {}
    for matrix, values in examined.live:
        possible = min(matrix.rank, matrix.in_features, matrix.out_features)
        counts[matrix.name] = int(possible - np.count_nonzero(values[:possible] > RELATIVE_TOLERANCE * values[0]))
    found = [name for name, count in counts.items() if count]
    if not found:
        return None
    unused, whole = sum(counts.values()), sum(matrix.rank for matrix, _ in examined.live)
    return Finding(
        "unused",
        LOOK if unused > whole / 10 else NOTE,
        f"{unused:,} of {whole:,} directions are never used, {examined.named(found)}: their σ is 0 to the last bits.",
        "Padding of an expanded rank looks like this. Shrinking to all of the energy drops them without any loss.",
        unused,
        tuple(found),
        "--energy 1 --out NEW_FOLDER",
    )


NOTHING = (
    Check(
        "alpha_zero",
        "alpha = 0",
        "s = 0 in any matrix",
        "s multiplies all of ΔW",
        _alpha_zero,
        needs_config=True,
    ),
    Check(
        "dead",
        "Dead matrices",
        "B or A is exactly 0 in any matrix",
        "B begins at 0, and one step with a gradient moves it: exactly 0 is no result of training",
        _dead,
    ),
    Check(
        "unused",
        "Unused directions",
        f"any σ ≤ {RELATIVE_TOLERANCE:g} of the matrix's largest",
        "that is the rounding of float32 factors; no direction of the atlas's trained adapters lies below it",
        _unused,
    ),
)
