"""An adapter's numbers beside the atlas's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from analysis.adapters.atlas import ENOUGH, entry_size, load_atlas, measured, of_adapter
from analysis.adapters.spectra import AdapterSpectra, is_dead

LABELS = {
    "entry": "size: root mean square of ΔW's entries",
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
OF_ANY_RANK = ("entry", "layer_concentration", "matrix_concentration", "spike")
"""Quantities that do not depend on the rank: they stand beside adapters of all ranks."""


def caution() -> str:
    """Return what the sample is, and what it can and cannot say."""
    return (
        f"The sample: {load_atlas().what_it_is()}, trained for 100 steps. It can say that a number is unlike theirs, "
        "never that it is bad: a good adapter of another model, task or length of training may lie outside in most "
        "numbers, and a broken one inside in all."
    )


class Beside(NamedTuple):
    """One number of an adapter and where it stands.

    Attributes:
        quantity: key of ``LABELS``.
        value: of the adapter; of a matrix the middle one.
        low: 5 % of the atlas's adapters that learned, of a rank near enough or of all ranks, lie below.
        high: 5 % lie above.
        percentile: how many percent lie below ``value``.
        untrained: how many percent of Gaussian factors lie below it; None for a size, which they are given.
    """

    quantity: str
    value: float
    low: float
    high: float
    percentile: float
    untrained: float | None

    @property
    def side(self) -> int:
        """−1 below ``low``, 1 above ``high``, 0 between."""
        return int(self.value > self.high) - int(self.value < self.low)


UNUSUAL = {-1: "below", 0: "within", 1: "above"}
"""``side`` → in a word."""


def beside_atlas(spectra: AdapterSpectra) -> list[Beside]:
    """Return each quantity of ``LABELS`` that the adapter has, beside the adapters that learned.

    What depends on the rank stands beside a group of near rank, and is left out where none is large enough.
    """
    rows = [(matrix, values) for matrix, values in spectra.rows() if values.size and np.isfinite(values).all()]
    if not rows:
        return []
    values: dict[str, float] = {k: float(np.median(v)) for k, v in measured([own for _, own in rows]).items() if v}
    values |= of_adapter([matrix.layer for matrix, _ in rows], [own for _, own in rows])
    sizes = [entry_size(own, m.out_features, m.in_features) for m, own in rows if not is_dead(own)]
    if sizes:
        values["entry"] = float(np.median(sizes))
    group = load_atlas().large_enough(_rank(spectra))
    ranks = {key: 0 if key in OF_ANY_RANK else group.rank if group else None for key in LABELS if key in values}
    if group is not None and group.rank != _rank(spectra):
        # It is counted in directions, and grows with them.
        ranks.pop("effective_rank", None)
    return [_beside(key, values[key], rank) for key, rank in ranks.items() if rank is not None]


def _beside(key: str, value: float, rank: int) -> Beside:
    atlas = load_atlas()
    random = [group for group in atlas.groups if group.kind == "random" and key in group.of_a_matrix]
    untrained = atlas.percentile(key, value, rank, "random") if random and rank else None
    low, high = (atlas.quantile(key, rank, level) for level in (5, 95))
    return Beside(key, value, low, high, atlas.percentile(key, value, rank), untrained)


def conclusion(spectra: AdapterSpectra, rows: Sequence[Beside]) -> str:
    """Return what ``beside_atlas`` says of an adapter: beside whom, which numbers lie outside, what that may mean."""
    atlas = load_atlas()
    group, whole = atlas.large_enough(_rank(spectra)), atlas.group(0)
    whom = f"Beside {whole.adapters} adapters" + (
        f", spectra beside the {group.adapters} of r = {group.rank}" if group else ""
    )
    missing = (
        ""
        if group
        else (f" Spectra are left out: of ranks near {_rank(spectra)} the sample has fewer than {ENOUGH} adapters.")
    )
    outside = [f"{LABELS[row.quantity]} {UNUSUAL[row.side]}" for row in rows if row.side]
    alive = " where ΔW is not 0" if any(is_dead(values) for values in spectra.singular_values.values()) else ""
    if not outside:
        each = "the only number lies" if len(rows) == 1 else f"all {len(rows)} numbers lie"
        return f"{whom}: {each} where the middle 90 % of theirs do{alive}.{missing}"
    lie = "lies" if len(outside) == 1 else "lie"
    by_chance = " One in ten does so by chance." if len(outside) <= 2 else ""
    return (
        f"{whom}: {len(outside)} of {len(rows)} numbers {lie} outside the middle 90 % of theirs "
        f"({'; '.join(outside)}): unlike them. Whether that is a defect this cannot tell: see the "
        f"findings.{by_chance}{missing}"
    )


def _rank(spectra: AdapterSpectra) -> int:
    """Return the rank of the middle matrix among those that are finite."""
    ranks = [matrix.rank for matrix, values in spectra.rows() if values.size and np.isfinite(values).all()]
    return round(float(np.median(ranks)))
