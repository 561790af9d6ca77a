"""How much an importance changes between events by itself: what a margin must be held against."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.runs import Run
from analysis.why.wording import line, number

WINDOW = 5
"""Pairs of successive events that are looked at, the last one ending at the event itself."""
ENOUGH = 3
"""Changes of one matrix from which its own noise is taken; below, that of all matrices stands in."""
NARROW, CLEAR = 1.0, 3.0
"""Margin over noise below which a decision could have gone either way, and from which it stands clear. Ours."""


@dataclass(frozen=True)
class Noise:
    """|δ| of an importance from one event to the next, over the last ``WINDOW`` pairs of events.

    δ is the change of a matrix's importance, less the median change of all matrices at the same pair: what all share
    alters no order. Left out are matrices that the earlier event moved, as a move changes an importance by itself, and
    pairs that fewer than two matrices are left of.

    Attributes:
        own: (M,) median |δ| of each matrix, NaN where it has none.
        counts: (M,) changes that it is the median of.
        shared: median |δ| over all matrices and pairs; None where there is no change.
        changes: how many that is the median of.
    """

    own: np.ndarray
    counts: np.ndarray
    shared: float | None
    changes: int

    def of(self, place: int) -> float | None:
        """Return the noise to hold a margin of matrix ``place`` against; None = unknown."""
        return float(self.own[place]) if self.counts[place] >= ENOUGH else self.shared


def event_noise(run: Run, event: int, measure: str) -> Noise:
    """Return the noise of a measure as it is known at an event (from 0)."""
    names = [matrix.name for matrix in run.matrices]
    found = []
    for earlier in range(max(0, event - WINDOW), event):
        change = _column(run, earlier + 1, measure, names) - _column(run, earlier, measure, names)
        record = run.events[earlier]
        moved = {move["matrix"] for half in ("prune", "extend") for move in record[half]}
        change[[name in moved for name in names]] = np.nan
        known = np.isfinite(change)
        if known.sum() > 1:
            found.append(np.abs(change - np.median(change[known])))
    table = np.array(found).reshape(len(found), len(names))
    known = np.isfinite(table)
    counts = known.sum(axis=0)
    own = np.full(len(names), np.nan)
    if counts.any():
        own[counts > 0] = np.nanmedian(table[:, counts > 0], axis=0)
    return Noise(own, counts, float(np.median(table[known])) if known.any() else None, int(known.sum()))


def _column(run: Run, event: int, measure: str, names: list[str]) -> np.ndarray:
    scores = run.events[event]["importance"].get(measure) or {}
    return np.array([scores.get(name) for name in names], np.float64)


def noise_line(noise: Noise, place: int) -> dict:
    """Return the card's line about the noise of one matrix."""
    value = noise.of(place)
    if value is None or noise.shared is None:
        detail = "it is the change between events, and no two events with unmoved matrices have been seen yet"
        return line("noise", "Noise", "unknown yet", detail)
    count = int(noise.counts[place])
    less = f"over the last {WINDOW} pairs of events at most, the change that all matrices share taken out"
    if count >= ENOUGH:
        detail = (
            f"median |ΔI| of this matrix, {count} changes after events that did not move it, {less}; "
            f"over all matrices {number(noise.shared)}"
        )
    else:
        detail = (
            f"median |ΔI| over all matrices, {noise.changes} changes after events that did not move them, {less}; "
            f"this matrix alone has {count}, too few"
        )
    return line("noise", "Noise", f"{number(value)} from event to event", detail, value)


def ratio_line(margin: float | None, noise: float | None) -> dict:
    """Return the card's line that holds the margin against the noise."""
    label = "Margin against noise"
    if margin is None:
        return line("ratio", label, "no margin to compare")
    if noise is None:
        return line("ratio", label, "the noise is not known yet")
    if not noise:
        return line("ratio", label, "the scores did not change at all between events, so there is no noise")
    ratio = abs(margin) / noise
    return line("ratio", label, f"the margin is {number(ratio)} times the noise: {verdict(ratio)}", "", ratio)


def verdict(ratio: float) -> str:
    """Return what a margin of so many times the noise says."""
    if ratio < NARROW:
        return "this could have gone either way"
    return "a narrow decision" if ratio < CLEAR else "it stands clear of the noise"
