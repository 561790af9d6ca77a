"""Matrices in a few groups: by module type, or by layer."""

from __future__ import annotations

import numpy as np

from analysis.runs import Run
from flexlora.matrix_names import module_type_order

MOST_BANDS = 12
NO_LAYER = "no layer"
GROUPINGS = ("type", "layer")


def matrix_groups(run: Run, by: str = "type") -> tuple[list[str], np.ndarray]:
    """Return the labels of the groups in their order, and the group of each matrix, (M,) int64.

    More than 12 layers are put together into bands of neighbouring layers.

    Raises:
        ValueError: neither by type nor by layer.
    """
    if by not in GROUPINGS:
        raise ValueError(f"unknown grouping {by!r}; choose one of {', '.join(GROUPINGS)}")
    if by == "type":
        labels = list(module_type_order({matrix.module_type for matrix in run.matrices}))
        return labels, np.array([labels.index(matrix.module_type) for matrix in run.matrices], np.int64)
    layers = sorted({matrix.layer for matrix in run.matrices if matrix.layer is not None})
    unplaced = any(matrix.layer is None for matrix in run.matrices)
    bands = [part.tolist() for part in np.array_split(np.array(layers), min(len(layers), MOST_BANDS - unplaced) or 1)]
    bands = [band for band in bands if band]
    labels = [f"layer {b[0]}" if len(b) == 1 else f"layers {b[0]}–{b[-1]}" for b in bands] + [NO_LAYER] * unplaced
    band_of = {layer: place for place, band in enumerate(bands) for layer in band}
    found = [len(bands) if m.layer is None else band_of[m.layer] for m in run.matrices]
    return labels, np.array(found, np.int64)


def group_ranks(run: Run, by: str = "type") -> np.ndarray:
    """Return the total rank of each group in each record, (T, groups) int64.

    Raises:
        ValueError: neither by type nor by layer.
    """
    labels, groups = matrix_groups(run, by)
    # In floating point, which multiplies several times faster.
    return (run.ranks.astype(np.float64) @ (groups[:, None] == np.arange(len(labels)))).astype(np.int64)


def layer_rows(run: Run) -> list[int | None]:
    """Return the layers of a run, ascending; what is in no layer last, as None."""
    layers = sorted({matrix.layer for matrix in run.matrices if matrix.layer is not None})
    return [*layers, *([None] if any(matrix.layer is None for matrix in run.matrices) else [])]


def layer_spread(run: Run, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return mean, least, greatest and count of the finite values of each layer's matrices, each (T, layers).

    A mean of matrices that have the quantity: of an entropy that is undefined in one, that of the others. NaN, and 0 of
    them, where none has it.

    Args:
        run: a loaded run.
        values: one a record and matrix, (T, M), NaN where undefined.
    """
    rows = layer_rows(run)
    place = {layer: row for row, layer in enumerate(rows)}
    own = np.array([place[matrix.layer] for matrix in run.matrices], np.int64)
    mean, least, greatest = np.full((3, len(values), len(rows)), np.nan)
    count = np.zeros((len(values), len(rows)), np.int64)
    for row in range(len(rows)):
        of = values[:, own == row]
        known = np.isfinite(of)
        count[:, row] = known.sum(axis=1)
        some = count[:, row] > 0
        mean[some, row] = np.where(known, of, 0.0).sum(axis=1)[some] / count[some, row]
        least[some, row] = np.where(known, of, np.inf).min(axis=1)[some]
        greatest[some, row] = np.where(known, of, -np.inf).max(axis=1)[some]
    return mean, least, greatest, count
