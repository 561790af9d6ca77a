"""What speaks against merging, or against believing an overlap: interference, a shared start."""

from __future__ import annotations

import itertools

import numpy as np

from analysis.adapters.doctor.finding import LOOK, NOTE, Finding
from analysis.adapters.many import SHARED_START, Comparisons, mean_of

COSINE = 0.15
"""Between two ΔW as vectors. Unrelated ones of n numbers have about 1 / √n."""


def interference(found: Comparisons) -> list[Finding]:
    """Return a finding for every two adapters whose ΔW point the same way, or against each other, and say where."""
    cosines, result = found.cosines(), []
    for i, j in itertools.combinations(range(len(found.names)), 2):
        cosine = float(cosines[i, j])
        if not abs(cosine) > COSINE:
            continue
        each = np.array([found.cosines([place])[i, j] for place in range(len(found.matrices))])
        place = int(np.nanargmax(each * np.sign(cosine)))
        word, what = ("agree", "adds up") if cosine > 0 else ("work against each other", "cancels")
        result.append(
            Finding(
                "interference",
                LOOK,
                f"{found.names[i]} and {found.names[j]} {word}: the cosine of their ΔW is {cosine:+.2f}, most in "
                f"{found.matrices[place].name} ({each[place]:+.2f}).",
                f"What they share {what} in a plain sum: weight them, or compare with TIES.",
                cosine,
                (found.matrices[place].name,),
            )
        )
    return result


def shared_starts(found: Comparisons) -> list[Finding]:
    """Return a finding for every two adapters whose A began at the same numbers."""
    inputs, chance = found.overall("input"), mean_of(found.chances["input"])
    result = []
    for first, second, cosine in found.same_starts():
        i, j = found.names.index(first), found.names.index(second)
        result.append(
            Finding(
                "shared_start",
                NOTE,
                f"{first} and {second} began at the same A (cosine of its rows {cosine:.2f}): their input overlap of "
                f"{inputs[i, j]:.2f} (chance {chance[i, j]:.2f}) comes from the seed.",
                "Look at the output overlap and at the cosine of ΔW instead.",
                cosine,
            )
        )
    return result


THRESHOLDS = {
    "interference": f"|cosine| of ΔW above {COSINE:g}; the atlas's adapters of one task, of other seeds, reach 0.10",
    "shared_start": f"mean cosine of the same rows of A above {SHARED_START:g}; unlike seeds give about 0",
}
"""Finding → when it speaks, and why there."""
