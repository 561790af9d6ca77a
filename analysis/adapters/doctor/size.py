"""ΔW beside the weights that it is added to."""

from __future__ import annotations

import numpy as np

from analysis.adapters.atlas import entry_size
from analysis.adapters.doctor.finding import LOOK, WRONG, Check, Examined, Finding
from analysis.adapters.doctor.shape import spiked
from analysis.adapters.words import in_digits

LARGE = 0.1
"""Root mean square of ΔW's entries above which it is as large as the weights, or larger."""
DROWNS = 1.0
"""Above this, ten times as large as any weights of the atlas's models."""


def entry_sizes(examined: Examined) -> dict[str, float]:
    """Return matrix → root mean square of the entries of its ΔW, of those that are finite and not 0."""
    return {m.name: entry_size(values, m.out_features, m.in_features) for m, values in examined.live}


def _size(examined: Examined) -> Finding | None:
    sizes = entry_sizes(examined)
    found = [name for name, size in sizes.items() if size > LARGE]
    # A spike that is alone in this is told as one.
    if set(found) <= set(spiked(examined)):
        return None
    own = [sizes[name] for name in found]
    middle, norm = float(np.median(own)), float(np.linalg.norm([np.linalg.norm(v) for _, v in examined.live]))
    drowned = middle > DROWNS
    told = "drowns the weights" if drowned else "is as large as the weights or larger"
    return Finding(
        "size",
        WRONG if drowned else LOOK,
        f"ΔW {told} {examined.named(found)}: the root mean square of its entries is {middle:.2g}, that of a model's "
        f"weights .02 to .1 (‖ΔW‖ = {in_digits(norm)}).",
        "The training blew up: take an earlier checkpoint, or train at a lower rate."
        if drowned
        else "Compare the rate and s = alpha / r with what was meant, and test it before trusting it.",
        middle,
        tuple(found),
    )


SIZE = (
    Check(
        "size",
        "Large ΔW",
        f"the root mean square of ΔW's entries is above {LARGE:g} in any matrix, unless only in spikes; above "
        f"{DROWNS:g} it drowns the weights",
        "weights of the atlas's two models have .02 to .1; what was trained on them has about half of that at most, "
        "also at the rate that is too high",
        _size,
    ),
)
