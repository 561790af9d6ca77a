"""What a run spent, from its log: ranks and parameters in the end, parameters × steps, seconds. Torch-free."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from flexlora.run_log import RunLog


def direction_costs(log: RunLog) -> np.ndarray:
    """Return the parameters of one direction of each matrix, (M,) int64: in + out + 1; 0 features where unknown."""
    rows = log.header["matrices"]
    return np.array([(row.get("in_features") or 0) + (row.get("out_features") or 0) + 1 for row in rows], np.int64)


def final_ranks(log: RunLog) -> np.ndarray:
    """Return the ranks after everything that was logged, (M,): a last event counts though no record follows it."""
    return ranks_after([row["name"] for row in log.header["matrices"]], log.spectra_steps, log.ranks, log.events)


def ranks_after(
    names: Sequence[str], steps: np.ndarray, ranks: np.ndarray, events: Iterable[Mapping[str, Any]]
) -> np.ndarray:
    """Return the ranks (M,) after the records at ``steps`` (T,), with ``ranks`` (T, M), and the events behind them."""
    if not len(steps):
        return np.zeros(len(names), np.int64)
    last, places = ranks[-1].copy(), {name: place for place, name in enumerate(names)}
    for event in events:
        if event["step"] >= steps[-1]:
            for key, change in (("prune", -1), ("extend", 1)):
                for move in event[key]:
                    last[places[move["matrix"]]] += change
    return last


def final_parameters(log: RunLog) -> int:
    """Return the parameters of the directions that are active after everything that was logged."""
    return int(final_ranks(log) @ direction_costs(log))


def parameter_steps(log: RunLog) -> int:
    """Return the sum over optimizer steps of the parameters that were active in each.

    Ranks change at events only, and an event's record shows the ranks that its step used: the record that follows a
    step, or is at it, speaks for the step. Gates that move at every step are known as often as spectra are logged.
    """
    if not len(log.spectra_steps):
        return 0
    steps = log.steps["step"]
    active = log.ranks @ direction_costs(log)
    record = np.searchsorted(log.spectra_steps, steps)
    late = record >= len(active)
    used = active[np.minimum(record, len(active) - 1)]
    return int(used[~late].sum()) + int(late.sum()) * final_parameters(log)


def train_seconds(log: RunLog) -> float:
    """Return the time that the optimizer steps took, over all starts of the run; evaluations are not counted."""
    return float(np.nansum(log.steps["step_s"]))
