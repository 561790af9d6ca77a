"""Orders of the matrices: rows of the strip, and which few of many lines are worth a colour."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from analysis.metrics import final_ranks
from analysis.quantities import defined_entropy
from analysis.runs import Run, move_counts
from analysis.thinning import mean_of
from flexlora.matrix_names import module_type_order

OPTIMAL_UP_TO = 600
"""Matrices up to which leaves are put in their best order: the time grows with the cube of their number."""
MOST_RECORDS = 120
"""Records that similarity looks at: curves are smooth between them."""


def by_architecture(run: Run) -> np.ndarray:
    """Module type in the order of data flow, then layer."""
    types, layers = _places(run)
    return np.lexsort((layers, types))


def by_layer(run: Run) -> np.ndarray:
    """Layer, then module type; what is outside the layers first."""
    types, layers = _places(run)
    return np.lexsort((types, layers))


def by_similarity(run: Run) -> np.ndarray:
    """Leaves of a hierarchical clustering of the entropy curves (average linkage of Euclidean distances).

    Undefined entropies count as the mean of their record, and so do not draw matrices together or apart. A matrix whose
    entropy is never defined comes last; where none is, as in an imported log that knows no λ, rank curves are compared.
    """
    from scipy.cluster.hierarchy import leaves_list, linkage

    start = by_architecture(run)
    entropy = defined_entropy(run)
    curves = entropy if np.isfinite(entropy).any() else run.ranks.astype(np.float64)
    rows = np.unique(np.linspace(0, max(0, len(curves) - 1), MOST_RECORDS).astype(np.int64)) if len(curves) else []
    curves = np.where(np.isfinite(curves), curves, np.nan)[rows][:, start]
    known = np.isfinite(curves).any(axis=0)
    curves = curves[np.isfinite(curves).any(axis=1)][:, known]
    if curves.shape[1] < 3:
        return np.concatenate([start[known], start[~known]])
    filled = np.where(np.isfinite(curves), curves, mean_of(curves)[:, None]).T
    leaves = leaves_list(linkage(filled, "average", optimal_ordering=len(filled) <= OPTIMAL_UP_TO))
    # A clustering has no direction of its own: it begins at the end that comes first in the architecture.
    if leaves[0] > leaves[-1]:
        leaves = leaves[::-1]
    return np.concatenate([start[known][leaves], start[~known]])


SORTS: dict[str, Callable[[Run], np.ndarray]] = {
    "architecture": by_architecture,
    "layer": by_layer,
    # The largest final rank, or the largest net gain, first.
    "final_rank": lambda run: _descending(run, final_ranks(run)),
    "change": lambda run: _descending(run, net_change(run)),
    "similarity": by_similarity,
}
"""Name → f(run) → (M,) permutation of the matrices' places in the header; ties keep the order of the architecture."""


def sorted_matrices(run: Run, sort: str) -> np.ndarray:
    """Return the places of the matrices in an order of ``SORTS``, (M,) int64.

    Raises:
        ValueError: there is none of this name; the message lists them.
    """
    if sort not in SORTS:
        raise ValueError(f"unknown sort {sort!r}; choose one of {', '.join(SORTS)}")
    return SORTS[sort](run)


def net_change(run: Run) -> np.ndarray:
    """Return how many directions each matrix gained (lost: negative) over the run, (M,) int64."""
    return final_ranks(run) - (run.ranks[0] if len(run.steps) else 0)


def most_moved(run: Run, count: int = 8) -> list[int]:
    """Return the places of the matrices to highlight: largest net change, then most moves, then the header's order.

    A matrix whose rank never moved is not among them.
    """
    gross = np.zeros(len(run.matrices), np.int64)
    for event in run.events:
        gross += sum(move_counts(run, event))
    net = np.abs(net_change(run))
    if not run.events:
        gross += np.abs(np.diff(run.ranks, axis=0)).sum(axis=0)
    chosen = np.lexsort((-gross, -net))
    return [int(place) for place in chosen if net[place] or gross[place]][:count]


def _places(run: Run) -> tuple[np.ndarray, np.ndarray]:
    order = {kind: place for place, kind in enumerate(module_type_order({m.module_type for m in run.matrices}))}
    types = np.array([order[matrix.module_type] for matrix in run.matrices], np.int64)
    return types, np.array([-1 if m.layer is None else m.layer for m in run.matrices], np.int64)


def _descending(run: Run, values: np.ndarray) -> np.ndarray:
    start = by_architecture(run)
    return start[np.argsort(-values[start], kind="stable")]
