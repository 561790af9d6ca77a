"""An adapter's numbers beside the atlas's."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from analysis.adapters.atlas import load_atlas, measured, of_adapter
from analysis.adapters.spectra import AdapterSpectra

LABELS = {
    "entropy": "entropy",
    "effective_rank": "effective rank",
    "stable_rank": "stable rank",
    "top_share": "share of the energy in σ₁",
    "top_over_norm": "σ₁ / ‖ΔW‖_F",
    "tail_share": "energy in the smaller half of the directions",
    "rank_99_share": "share of the directions that hold 99 %",
    "layer_concentration": "largest layer's energy, × the mean",
    "matrix_concentration": "largest matrix's energy, × the mean",
    "spike": "largest σ₁, × the middle matrix's",
}
"""Quantity → as a person reads it."""


def caution() -> str:
    """Return what "usual" means here, in two sentences."""
    return f"Usual = {load_atlas().what_it_is()}. It says what is common there, not what is good."


class Beside(NamedTuple):
    """One number of an adapter and where it stands.

    Attributes:
        quantity: key of ``LABELS``.
        value: of the adapter; of a matrix the middle one.
        low: 5 % of the atlas's adapters that learned, at the nearest rank, lie below.
        high: 5 % lie above.
        percentile: how many percent lie below ``value``.
        untrained: how many percent of Gaussian factors lie below it.
    """

    quantity: str
    value: float
    low: float
    high: float
    percentile: float
    untrained: float


def beside_atlas(spectra: AdapterSpectra) -> list[Beside]:
    """Return each quantity of ``LABELS`` that the adapter has, beside the adapters that learned at the nearest rank."""
    atlas = load_atlas()
    rows = [(matrix, values) for matrix, values in spectra.rows() if values.size and np.isfinite(values).all()]
    if not rows:
        return []
    values: dict[str, float] = {k: float(np.median(v)) for k, v in measured([own for _, own in rows]).items() if v}
    values |= of_adapter([matrix.layer for matrix, _ in rows], [own for _, own in rows])
    rank = round(float(np.median([matrix.rank for matrix, _ in rows])))
    return [
        Beside(
            key,
            values[key],
            atlas.quantile(key, rank, 5),
            atlas.quantile(key, rank, 95),
            atlas.percentile(key, values[key], rank),
            atlas.percentile(key, values[key], rank, "random"),
        )
        for key in LABELS
        if key in values
    ]
