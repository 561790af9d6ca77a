"""How far ranks can go: ends of scales that hold for a whole run, also while it goes on."""

from __future__ import annotations

import numpy as np

from analysis.metrics import final_ranks
from analysis.runs import Run


def allowed_rank(run: Run) -> int | None:
    """Return the rank that a matrix may reach: the configuration's limit, else twice the first; None where unknown."""
    limit, first = (run.config.get(key) for key in ("max_rank", "initial_rank"))
    if isinstance(limit, int):
        return limit
    return 2 * first if isinstance(first, int) else None


def change_limit(run: Run) -> int:
    """Return the largest change of a rank, at least 1: between any two moments, so that it holds from whichever on.

    While the run goes on, at least what its configuration allows a matrix to gain.
    """
    if not len(run.steps):
        return 1
    last = final_ranks(run)
    moved = np.maximum(run.ranks.max(axis=0), last) - np.minimum(run.ranks.min(axis=0), last)
    allowed = allowed_rank(run) if run.state == "running" else None
    gain = 0 if allowed is None else allowed - int(run.ranks[0].min(initial=allowed))
    return max(1, gain, int(moved.max(initial=0)))
