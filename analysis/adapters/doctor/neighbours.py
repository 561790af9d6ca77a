"""An adapter's size beside that of others for the same base model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from analysis.adapters.doctor.finding import LOOK, Finding
from analysis.adapters.spectra import AdapterSpectra

LARGER = 10.0
"""Ratio of an adapter's size to the middle one of its neighbours."""
FEWEST = 3
"""Neighbours below which there is no middle one to speak of."""
THRESHOLD = (
    f"an adapter's ΔW, by the root mean square of its entries, is above {LARGER:g} times the middle one of {FEWEST} "
    "others or more for the same base model; those that learned in the atlas, of ranks 2 to 32 and rates sixteenfold "
    "apart, reach 3.5 times"
)
"""When the finding is made, and why there."""
LABEL = "Larger than the others"
"""What it is called, as the labels of ``CHECKS``."""


def neighbour_sizes(spectra: Mapping[str, AdapterSpectra]) -> dict[str, Finding]:
    """Return name → a finding for every adapter whose ΔW is far larger than that of others for the same base model."""
    groups: dict[str, dict[str, float]] = {}
    for name, own in spectra.items():
        size, base = whole_size(own), own.adapter.base_model
        if base and size:
            groups.setdefault(base, {})[name] = size
    found = {}
    for base, sizes in groups.items():
        for name, size in sizes.items():
            others = [other for key, other in sizes.items() if key != name]
            if len(others) < FEWEST or size <= LARGER * np.median(others):
                continue
            ratio = size / float(np.median(others))
            found[name] = Finding(
                "neighbours",
                LOOK,
                f"ΔW is {ratio:,.0f} times as large as that of the middle one of {len(others)} others for {base}, by "
                "the root mean square of its entries.",
                _advice(spectra[name], [spectra[key] for key in sizes if key != name]),
                ratio,
            )
    return found


def _advice(own: AdapterSpectra, others: Sequence[AdapterSpectra]) -> str:
    """Return what to compare: not s, where most of the others have it too."""
    scales = _scales(own)
    same = sum(_scales(other) == scales for other in others)
    told = f" ({max(scales):.3g})" if len(scales) == 1 else ""
    if 2 * same > len(others):
        of = "the others" if same == len(others) else f"{same} of them"
        return f"Its s = alpha / r is that of {of}{told}: compare the rate, the data and the steps."
    return f"Its s = alpha / r{told} is not that of most of them: compare it, and the rate, with theirs."


def _scales(spectra: AdapterSpectra) -> set[float]:
    return {matrix.scale for matrix in spectra.adapter.matrices}


def whole_size(spectra: AdapterSpectra) -> float:
    """Return the root mean square of ΔW's entries over all matrices that are finite and not 0; 0 where none is."""
    live = [(m, values) for m, values in spectra.rows() if values.size and np.isfinite(values).all() and values.any()]
    entries = sum(matrix.in_features * matrix.out_features for matrix, _ in live)
    return float(np.linalg.norm([np.linalg.norm(values) for _, values in live]) / np.sqrt(entries)) if live else 0.0
