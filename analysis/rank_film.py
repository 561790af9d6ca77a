"""``rank_film``: the rank map of a run over time, in as few numbers as a thumbnail takes."""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.metrics import final_ranks
from analysis.runs import Run
from flexlora.matrix_names import module_type_order

FRAMES = 48


def rank_film(run: Run, frames: int = FRAMES) -> dict[str, Any]:
    """Return the ranks of all matrices at evenly chosen records, the first and the last among them.

    Args:
        run: a loaded run.
        frames: how many at most.

    Returns:
        ``rows`` and ``columns`` of the map, layer × module type; ``cells``, (row, column) of each matrix; ``steps`` and
        ``ranks``, one a frame: a step, and a list with the rank of each matrix; ``total``, their sum at the first
        record and after the last event; empty without records.
    """
    layers = sorted({-1 if matrix.layer is None else matrix.layer for matrix in run.matrices})
    types = list(module_type_order({matrix.module_type for matrix in run.matrices}))
    at = [
        [layers.index(-1 if matrix.layer is None else matrix.layer), types.index(matrix.module_type)]
        for matrix in run.matrices
    ]
    chosen = np.unique(np.linspace(0, len(run.steps) - 1, frames).astype(np.int64)) if len(run.steps) else []
    return {
        "rows": len(layers),
        "columns": len(types),
        "cells": at,
        "steps": [int(run.steps[record]) for record in chosen],
        "ranks": [run.ranks[record].tolist() for record in chosen],
        "total": [int(run.ranks[0].sum()), int(final_ranks(run).sum())] if len(run.steps) else [],
    }
