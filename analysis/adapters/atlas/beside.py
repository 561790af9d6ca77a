"""An adapter's numbers beside the atlas's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from analysis.adapters.atlas import load_atlas, measured, of_adapter
from analysis.adapters.spectra import AdapterSpectra, is_dead

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

    @property
    def side(self) -> int:
        """−1 below ``low``, 1 above ``high``, 0 between."""
        return int(self.value > self.high) - int(self.value < self.low)


UNUSUAL = {-1: "below", 0: "usual", 1: "above"}
"""``side`` → in a word."""


def beside_atlas(spectra: AdapterSpectra) -> list[Beside]:
    """Return each quantity of ``LABELS`` that the adapter has, beside the adapters that learned at the nearest rank."""
    atlas = load_atlas()
    rows = [(matrix, values) for matrix, values in spectra.rows() if values.size and np.isfinite(values).all()]
    if not rows:
        return []
    values: dict[str, float] = {k: float(np.median(v)) for k, v in measured([own for _, own in rows]).items() if v}
    values |= of_adapter([matrix.layer for matrix, _ in rows], [own for _, own in rows])
    rank = _rank(spectra)
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


def conclusion(spectra: AdapterSpectra, rows: Sequence[Beside]) -> str:
    """Return what ``beside_atlas`` says of an adapter, in two sentences: beside whom, and which numbers lie outside."""
    group = load_atlas().group(_rank(spectra))
    whom = f"Beside the {group.adapters} of r = {group.rank}, the nearest rank there: "
    outside = [f"{LABELS[row.quantity]} {UNUSUAL[row.side]}" for row in rows if row.side]
    alive = " where ΔW is not 0" if any(is_dead(values) for values in spectra.singular_values.values()) else ""
    if not outside:
        return f"{whom}all {len(rows)} numbers lie where the middle 90 % of them do. Nothing is unusual{alive}."
    lie = "number lies" if len(outside) == 1 else "numbers lie"
    by_chance = " One in ten does so by chance." if len(outside) <= 2 else ""
    return f"{whom}{len(outside)} of {len(rows)} {lie} outside their middle 90 % ({'; '.join(outside)}).{by_chance}"


def _rank(spectra: AdapterSpectra) -> int:
    """Return the rank of the middle matrix among those that are finite."""
    ranks = [matrix.rank for matrix, values in spectra.rows() if values.size and np.isfinite(values).all()]
    return round(float(np.median(ranks)))
