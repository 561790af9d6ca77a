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
