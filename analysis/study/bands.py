"""``metric_bands``: a number over the one clock, the step, as the mean of a group with a 95 % band over its seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from analysis.dynamics import (
    churn_over_time,
    gross_moves_over_time,
    loss_window,
    net_moves_over_time,
    trailing_mean,
)
from analysis.metrics import evaluation_series
from analysis.quantities import record_of
from analysis.runs import Run, move_counts
from analysis.statistics import CONFIDENCE, RESAMPLES, bca_ends
from analysis.study.groups import Group
from flexlora.budgets import direction_costs

MOST_STEPS = 200
"""Steps of a band: more cannot be seen, and each is resampled."""

Series = tuple[np.ndarray, np.ndarray]


class Curve(NamedTuple):
    """What may be drawn over time.

    Attributes:
        label: name of the axis, with its unit.
        held: a value holds until the next record; otherwise it stands for its own step only.
        of: run → (steps, values), None where the run has nothing of it.
    """

    label: str
    held: bool
    of: Callable[[Run], Series | None]


@dataclass(frozen=True)
class Band:
    """The mean of a group over time.

    Attributes:
        group: what it is of.
        curve: key of ``CURVES``.
        label: of the axis.
        steps: (S,) int64, rising: those for which every member has a value, so that none comes or goes.
        mean: (S,).
        low: (S,) lower end of the 95 % interval of the mean at each step by itself, not of the whole curve; NaN for one
            member.
        high: (S,) its upper end.
        n: members: runs with this curve that did not fail.
        missing: runs that failed or have nothing of it.
    """

    group: Group
    curve: str
    label: str
    steps: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    n: int
    missing: int


def _evaluated(run: Run) -> Series | None:
    found = evaluation_series(run)
    return None if found is None else found[2:]


def _loss(run: Run) -> Series | None:
    scalars = run.log.steps
    values = trailing_mean(scalars["task_loss"], loss_window(run))
    known = np.isfinite(values)
    return (scalars["step"][known], values[known]) if known.any() else None


def _recorded(values: Callable[[Run], np.ndarray]) -> Callable[[Run], Series | None]:
    def of(run: Run) -> Series | None:
        if not len(run.steps):
            return None
        found = np.asarray(values(run), np.float64)
        known = np.isfinite(found)
        return (run.steps[known], found[known]) if known.any() else None

    return of


def ranks_left(run: Run) -> np.ndarray:
    """Return the ranks that the decision of each record's step left, (T, M): what holds until the next record."""
    ranks = run.ranks.copy()
    for event in run.events:
        pruned, extended = move_counts(run, event)
        # The record at an event shows what it saw; a later one at the same place shows nothing of it.
        if len(ranks):
            ranks[record_of(run, event["step"])] += extended - pruned
    return ranks


CURVES: dict[str, Curve] = {
    "validation": Curve("validation", False, _evaluated),
    "task_loss": Curve("task loss, trailing mean", False, _loss),
    "total_rank": Curve("total rank", True, _recorded(lambda run: ranks_left(run).sum(axis=1))),
    "parameters": Curve("active parameters", True, _recorded(lambda run: ranks_left(run) @ direction_costs(run.log))),
    "gross_moves": Curve("directions moved so far", True, _recorded(gross_moves_over_time)),
    "net_moves": Curve("directions elsewhere than at the start", True, _recorded(net_moves_over_time)),
    "churn": Curve("churn, share of prunes so far", True, _recorded(churn_over_time)),
}
"""Key → what may be drawn over time, of any group."""


def metric_bands(groups: Sequence[Group], curve: str = "validation", *, seed: int = 0) -> list[Band]:
    """Return the band of each group that has this curve.

    Args:
        groups: those of one task.
        curve: key of ``CURVES``.
        seed: of the resampling.

    Raises:
        ValueError: an unknown curve.
    """
    if curve not in CURVES:
        raise ValueError(f"unknown curve {curve!r}; choose one of {', '.join(CURVES)}")
    asked, found = CURVES[curve], []
    for group in groups:
        members = [(run, series) for run in group.intact().values() if (series := asked.of(run)) is not None]
        if members:
            steps, values = aligned([series for _, series in members], held=asked.held)
            mean, low, high = mean_band(values, seed=seed)
            label = _label(members[0][0]) if curve == "validation" else asked.label
            missing = len(group.runs) - len(members)
            found.append(Band(group, curve, label, steps, mean, low, high, len(members), missing))
    return found


def aligned(series: Sequence[Series], *, held: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the steps for which every series has a value, (S,), at most ``MOST_STEPS``, and the values, (n, S).

    Args:
        series: (steps, values) each, steps rising.
        held: a value holds from its step to the next one, and after the last.
    """
    if held:
        first = max(int(steps[0]) for steps, _ in series)
        last = min(int(steps[-1]) for steps, _ in series)
        union = np.unique(np.concatenate([steps for steps, _ in series]))
        shared = union[(union >= first) & (union <= last)]
    else:
        shared = series[0][0]
        for steps, _ in series[1:]:
            shared = np.intersect1d(shared, steps)
    if len(shared) > MOST_STEPS:
        shared = shared[np.unique(np.linspace(0, len(shared) - 1, MOST_STEPS).astype(int))]
    values = [own[np.searchsorted(steps, shared, side="right") - 1] for steps, own in series]
    return shared, np.array(values, np.float64).reshape(len(series), len(shared))


def mean_band(values: np.ndarray, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean and 95 % interval of each column, as ``analysis.statistics.interval`` has it.

    Args:
        values: (n, S), finite.
        seed: of the resampling; every column is resampled with the same seeds drawn.

    Returns:
        Three arrays (S,); the ends are NaN for n < 2.
    """
    n, count = values.shape
    mean = values.mean(axis=0)
    if n < LEAST:
        return mean, np.full(count, np.nan), np.full(count, np.nan)
    draws = np.random.default_rng(seed).integers(0, n, (RESAMPLES, n))
    times = np.zeros((RESAMPLES, n))
    np.add.at(times, (np.arange(RESAMPLES)[:, None], draws), 1.0)
    low, high = mean.copy(), mean.copy()
    moving = np.ptp(values, axis=0) > 0
    own = np.ascontiguousarray(values[:, moving].T)
    low[moving], high[moving] = bca_ends(own, (own @ times.T) / n, CONFIDENCE)
    return mean, low, high


LEAST = 2


def _label(run: Run) -> str:
    found = evaluation_series(run)
    return "validation" if found is None else f"{found[0]} {found[1]}"
