"""``Digest``: what every view needs of the spectra without their values, computed block by block."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from flexlora.brief import Brief
from flexlora.ragged import ragged_entropy, ragged_peak, ragged_sum


class Block(NamedTuple):
    """Some records that follow each other; n of them, of M matrices.

    Attributes:
        steps: (n,) int64.
        stored: (n, M) int64: directions that have a λ.
        values: λ, flat float32, record by record.
        has_true: (n,) bool: the record has true singular values.
        true_values: those, flat float32, one a λ.
        has_gates: (n,) bool.
        gates: those, flat float32, one a λ of the records that have them.
    """

    steps: np.ndarray
    stored: np.ndarray
    values: np.ndarray
    has_true: np.ndarray
    true_values: np.ndarray
    has_gates: np.ndarray
    gates: np.ndarray

    @property
    def offsets(self) -> np.ndarray:
        """Where the values of each record and matrix begin, (n · M + 1,) int64."""
        return np.concatenate([[0], np.cumsum(self.stored, dtype=np.int64)])

    @property
    def all_gates(self) -> np.ndarray | None:
        """One gate a value, 1.0 where a record has none; None when none of them has any."""
        if not len(self.gates):
            return None
        gates = np.ones(len(self.values), np.float32)
        gates[np.repeat(self.has_gates, self.stored.sum(axis=1))] = self.gates
        return gates


@dataclass(frozen=True, repr=False)
class Digest(Brief):
    """T records of M matrices, of which K have true singular values.

    Attributes:
        steps: (T,) int64.
        stored: (T, M) int64: directions that have a λ.
        ranks: (T, M) int64: directions whose gate is above 0; the same array where there are no gates.
        has_true: (T,) bool: the record has true singular values.
        gated: whether any record has gates.
        entropy: (T, M) float64, of λ² over the directions that are on; NaN where undefined.
        energy: (T, M) float64, Σλ² over the same.
        used: (T, M) float64, the sum of the gates: directions that a training step uses on average; None without gates.
        true_entropy: (K, M) float64.
        peak: (M,) float64, the largest finite |λ| of each matrix in the whole run.
        true_peak: (M,) float64, the largest finite true singular value.
        partial: whether any gate is neither 0 nor 1.
    """

    steps: np.ndarray
    stored: np.ndarray
    ranks: np.ndarray
    has_true: np.ndarray
    gated: bool
    entropy: np.ndarray
    energy: np.ndarray
    used: np.ndarray | None
    true_entropy: np.ndarray
    peak: np.ndarray
    true_peak: np.ndarray
    partial: bool


def digest(blocks: Iterable[Block], matrices: int, before: Digest | None = None) -> Digest:
    """Return what the blocks hold together, in their order, after the records that ``before`` is about."""
    parts = [*([] if before is None else [before]), *(_digest_of(block) for block in blocks)]
    if not parts:
        none, row = np.empty((0, matrices)), np.zeros(matrices)
        counts = none.astype(np.int64)
        empty = np.empty(0, np.int64)
        return Digest(empty, counts, counts, empty.astype(bool), False, none, none, None, none, row, row, False)

    def joined(name: str) -> np.ndarray:
        return np.concatenate([getattr(part, name) for part in parts])

    gated = any(part.gated for part in parts)
    stored = joined("stored")
    return Digest(
        steps=joined("steps"),
        stored=stored,
        ranks=joined("ranks") if gated else stored,
        has_true=joined("has_true"),
        gated=gated,
        entropy=joined("entropy"),
        energy=joined("energy"),
        used=np.concatenate([part.ranks if part.used is None else part.used for part in parts]) if gated else None,
        true_entropy=joined("true_entropy"),
        peak=np.max([part.peak for part in parts], axis=0),
        true_peak=np.max([part.true_peak for part in parts], axis=0),
        partial=any(part.partial for part in parts),
    )


def _digest_of(block: Block) -> Digest:
    shape, offsets, gates = block.stored.shape, block.offsets, block.all_gates
    ranks, used, values, on, partial = block.stored, None, block.values, offsets, False
    if gates is not None:
        is_on = gates > 0
        ranks = np.diff(np.concatenate([[0], np.cumsum(is_on)])[offsets]).reshape(shape)
        used = ragged_sum(gates, offsets).reshape(shape)
        values, on = values[is_on], np.concatenate([[0], np.cumsum(ranks, dtype=np.int64)])
        partial = bool((is_on & (gates < 1)).any())
    entropy, energy = ragged_entropy(values, on)
    true_entropy, true_peak = _true_scores(block, ranks)
    return Digest(
        steps=block.steps,
        stored=block.stored,
        ranks=ranks,
        has_true=block.has_true,
        gated=gates is not None,
        entropy=entropy.reshape(shape),
        energy=energy.reshape(shape),
        used=used,
        true_entropy=true_entropy,
        peak=ragged_peak(block.values, offsets).reshape(shape).max(axis=0, initial=0),
        true_peak=true_peak,
        partial=partial,
    )


def _true_scores(block: Block, ranks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    stored, ranks = block.stored[block.has_true], ranks[block.has_true]
    offsets = np.concatenate([[0], np.cumsum(stored, dtype=np.int64)])
    peak = ragged_peak(block.true_values, offsets).reshape(stored.shape).max(axis=0, initial=0)
    # A direction that is off is about 0: the others alone carry the spectrum whose log r divides.
    place = np.arange(offsets[-1]) - np.repeat(offsets[:-1], stored.ravel())
    values = block.true_values[place < np.repeat(ranks.ravel(), stored.ravel())]
    entropy, _ = ragged_entropy(values, np.concatenate([[0], np.cumsum(ranks, dtype=np.int64)]))
    return entropy.reshape(stored.shape), peak
