"""Numbers that cannot be right, or that their type cannot hold."""

from __future__ import annotations

import numpy as np

from analysis.adapters.doctor.finding import LOOK, WRONG, Check, Examined, Finding
from analysis.adapters.relations import listed

STEP_F16 = 2.0**-24
"""Distance of neighbouring numbers of float16 near 0."""
LOST = 0.01
"""Share of a factor's root mean square that rounding may make up."""
LARGEST_F16 = float(np.finfo(np.float16).max)


def _not_finite(examined: Examined) -> Finding | None:
    found = examined.spectra.broken
    if not found:
        return None
    return Finding(
        "not_finite",
        WRONG,
        f"NaN or infinity {examined.named(found)}, {_entries(examined, found)}: the model's output becomes NaN.",
        "Training diverged, or float16 overflowed: take an earlier checkpoint, a lower rate, or bfloat16.",
        len(found),
        tuple(found),
    )


def _entries(examined: Examined, found: list[str]) -> str:
    """Return how many numbers of the factors are not finite and in which directions, or that their product is not."""
    whole, bad, held, of = 0, {"B": 0, "A": 0}, 0, 0
    for name in found:
        B, A = (~np.isfinite(factor) for factor in examined.adapter.factors(name))
        whole, of = whole + B.size + A.size, of + len(A)
        bad["B"] += int(np.count_nonzero(B))
        bad["A"] += int(np.count_nonzero(A))
        held += int(np.count_nonzero(B.any(axis=0) | A.any(axis=1)))
    if not sum(bad.values()):
        return "in the product of factors that are finite"
    each = [f"{count:,} of {part}" for part, count in bad.items() if count]
    factors = listed(each) if len(each) > 1 else f"all of {max(bad, key=lambda part: bad[part])}"
    return f"in {sum(bad.values()):,} of their {whole:,} numbers ({factors}, in {held} of {of} directions)"


def _underflow(examined: Examined) -> Finding | None:
    lost = {
        name: max(rounding(rms) for rms, dtype in zip(own.rms, own.dtypes, strict=True) if dtype == "F16")
        for name, own in examined.factors.items()
        if "F16" in own.dtypes
    }
    found = [name for name, share in lost.items() if share > LOST]
    if not found:
        return None
    most = max(lost[name] for name in found)
    return Finding(
        "underflow",
        LOOK,
        f"Stored in F16, the numbers are so small {examined.named(found)} that rounding is {most:.0%} of their size.",
        "Save it in BF16 or F32, from the numbers that were trained.",
        most,
        tuple(found),
    )


def rounding(rms: float) -> float:
    """Return the rounding error of a factor as a share of its root mean square; 0 for one that is 0."""
    return STEP_F16 / np.sqrt(12) / rms if 0 < rms < np.inf else 0.0


def _overflow(examined: Examined) -> Finding | None:
    found = [name for name, own in examined.factors.items() if LARGEST_F16 < own.largest < np.inf]
    if not found:
        return None
    largest = max(examined.factors[name].largest for name in found)
    return Finding(
        "overflow",
        LOOK,
        f"Numbers up to {largest:.3g} {examined.named(found)}: in float16, which ends at 65,504, they become infinity.",
        "Never load it in float16. Factors of like size hold the same ΔW: divide the larger of A "
        "and B by a number, and multiply the other by it.",
        largest,
        tuple(found),
    )


NUMBERS = (
    Check("not_finite", "NaN or infinity", "any number of a factor is one", "0 · NaN is NaN", _not_finite),
    Check(
        "underflow",
        "Too small for its type",
        f"stored in F16, and rounding is more than {LOST:.0%} of the root mean square of A or B",
        "near 0 the numbers of float16 are 6e-8 apart, so that rounding errs by 1.7e-8; A and B are usually 1e-4 to 1",
        _underflow,
    ),
    Check(
        "overflow",
        "Too large for float16",
        "any number above 65,504",
        "the largest number of float16",
        _overflow,
    ),
)
