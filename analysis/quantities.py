"""What a map or a strip may show of each matrix at each record."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from analysis.runs import Run
from analysis.thinning import around
from flexlora.importance import IMPORTANCES


class Quantity(NamedTuple):
    """One number of each matrix at each record.

    Attributes:
        column: its name in tables.
        label: as shown to people.
        values: f(run, since) → (T, M) float64, NaN where undefined; ``since`` is the step that change is counted from.
        range: least and largest value that there can be; None = no bound.
        whole: counts directions.
    """

    column: str
    label: str
    values: Callable[[Run, int | None], np.ndarray]
    range: tuple[float | None, float | None] = (0.0, None)
    whole: bool = False

    def column_of(self, values: np.ndarray) -> np.ndarray:
        """Return values as one column of a table: int64 for what counts directions."""
        return values.ravel().astype(np.int64) if self.whole else values.ravel()


def record_of(run: Run, step: int) -> int:
    """Return the latest record at or before a step, the first one for an earlier step.

    Raises:
        ValueError: the run has no record.
    """
    return run.record_at(max(step, int(run.steps[0]))) if len(run.steps) else run.record_at(step)


def entropy_gaps(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Return steps (K,) and |I(λ) − I(σ)| (K, M) of the records that have true singular values."""
    steps, true = run.true_entropy
    return steps, np.abs(run.entropy[np.isin(run.steps, steps)] - true)


def defined_entropy(run: Run) -> np.ndarray:
    """Return the entropy of λ² that maps, tables and texts tell, (T, M) float64; NaN where undefined.

    At rank 1 or 0 it is: one direction cannot share, though the log, as the measure's definition, has 1 there.
    """
    return np.where(run.ranks > 1, run.entropy, np.nan)


def _rank(run: Run, since: int | None) -> np.ndarray:
    return run.ranks.astype(np.float64)


def _change(run: Run, since: int | None) -> np.ndarray:
    if not len(run.steps):
        return _rank(run, since)
    return (run.ranks - run.ranks[0 if since is None else record_of(run, since)]).astype(np.float64)


def _energy(run: Run, since: int | None) -> np.ndarray:
    """Σλ²; NaN where no direction has a known λ."""
    return np.where(np.isfinite(run.energy), run.energy, np.nan)


def _parameters(run: Run, since: int | None) -> np.ndarray:
    """Of r directions r · (in + out + 1); NaN where the log does not say how large a matrix is."""
    cost = [m.in_features + m.out_features + 1 if m.in_features and m.out_features else np.nan for m in run.matrices]
    return run.ranks * np.array(cost, np.float64)


def _entropy(run: Run, since: int | None) -> np.ndarray:
    return defined_entropy(run)


def _true_entropy(run: Run, since: int | None) -> np.ndarray:
    """Entropy of σ² at the latest record that has true singular values; NaN where the rank was or is 1."""
    steps, true = run.true_entropy
    latest = _latest(run, steps, np.where(run.ranks[np.isin(run.steps, steps)] > 1, true, np.nan))
    return np.where(run.ranks > 1, latest, np.nan)


def _gap(run: Run, since: int | None) -> np.ndarray:
    """|I(λ) − I(σ)| of the latest record that has true singular values; NaN before the first."""
    return _latest(run, *entropy_gaps(run))


def _latest(run: Run, steps: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Return at each record the row of the latest of some steps (K,), from values (K, M); NaN before the first."""
    if not len(steps):
        return np.full(run.ranks.shape, np.nan)
    latest = np.searchsorted(steps, run.steps, side="right") - 1
    return np.where((latest >= 0)[:, None], own[np.maximum(latest, 0)], np.nan)


ENTROPY = IMPORTANCES["spectral_entropy"]

QUANTITIES: dict[str, Quantity] = {
    "rank": Quantity("rank", "rank", _rank, whole=True),
    "change": Quantity("rank_change", "rank change", _change, (None, None), whole=True),
    "entropy": Quantity("entropy", f"{ENTROPY.label} of λ²", _entropy, ENTROPY.range),
    "energy": Quantity("energy", "energy Σλ²", _energy),
    "parameters": Quantity("parameters", "parameters of the active directions", _parameters),
    "gap": Quantity("entropy_gap", "gap |I(λ) − I(σ)|", _gap, ENTROPY.range),
    "true_entropy": Quantity("true_entropy", f"{ENTROPY.label} of σ²", _true_entropy, ENTROPY.range),
}
"""Colour → what it shows."""


def quantity(colour: str) -> Quantity:
    """Return an entry of ``QUANTITIES``.

    Raises:
        ValueError: there is none of this name; the message lists them.
    """
    if colour not in QUANTITIES:
        raise ValueError(f"unknown colour {colour!r}; choose one of {', '.join(QUANTITIES)}")
    return QUANTITIES[colour]


def selected_records(run: Run, limit: int) -> np.ndarray:
    """Return indices of records to draw, ascending: all, or every event with its neighbours and an even selection.

    Args:
        run: a loaded run.
        limit: more are returned only where the events and their neighbours are more.
    """
    count = len(run.steps)
    if count <= limit:
        return np.arange(count)
    needed = around(run.steps, [event["step"] for event in run.events])
    spread = np.linspace(0, count - 1, max(2, limit - len(needed))).astype(np.int64)
    return np.unique(np.concatenate([needed, spread]))
