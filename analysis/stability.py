"""How stable the order is in which a measure puts the matrices: Spearman's correlation from event to event.

A measure that reverses its order from one event to the next moves rank for no lasting reason. ``random`` draws anew at
each event: it shows what no stability looks like.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.quantities import record_of
from analysis.runs import Run
from analysis.statistics import Comparison, compare_pairs, interval, rank_stability
from flexlora.brief import Brief
from flexlora.importance import measure_label, silent_at_rank_one

RAW = "sensitivity"
SMOOTHED = ("smoothed_sensitivity", "sensitivity_times_uncertainty")
"""AdaLoRA's smoothed sensitivity × uncertainty, as FlexLoRA's adapter logs it when a policy reads it, and as AdaLoRA
and ElaLoRA do."""


@dataclass(frozen=True, repr=False)
class OrderStability(Brief):
    """One measure of one run.

    Attributes:
        measure: its key in the log.
        label: its name in a sentence.
        steps: (E − 1,) step of the later of two events that follow each other.
        correlation: (E − 1,) Spearman's; NaN where fewer than three matrices have a score in both, or one score is the
            same for all.
    """

    measure: str
    label: str
    steps: np.ndarray
    correlation: np.ndarray

    @property
    def mean(self) -> float:
        """Mean over the pairs of events that have one; NaN where none has."""
        known = self.correlation[np.isfinite(self.correlation)]
        return float(known.mean()) if len(known) else float("nan")


@dataclass(frozen=True, repr=False)
class MeanStability(Brief):
    """One measure in several runs.

    Attributes:
        measure: its key in the log.
        label: its name in a sentence.
        n: runs in which it has a mean.
        mean: of the runs' means.
        low: lower end of the 95 % interval; NaN for one run.
        high: its upper end.
    """

    measure: str
    label: str
    n: int
    mean: float
    low: float
    high: float


def order_stability(run: Run) -> list[OrderStability]:
    """Return the stability of every measure that the events of a run log; empty for fewer than two events."""
    steps = np.array([event["step"] for event in run.events], np.int64)
    if len(steps) < LEAST_EVENTS:
        return []
    measures = list(dict.fromkeys(key for event in run.events for key in event["importance"]))
    return [
        OrderStability(key, measure_label(key), steps[1:], rank_stability(_scores(run, key).tolist()))
        for key in measures
    ]


def mean_stability(runs: Sequence[Run], *, seed: int = 0) -> list[MeanStability]:
    """Return the stability of each measure over runs that differ in their seed, the most stable first.

    Args:
        runs: of one group.
        seed: of the resampling.
    """
    found: dict[str, list[float]] = {}
    for run in runs:
        for one in order_stability(run):
            if np.isfinite(one.mean):
                found.setdefault(one.measure, []).append(one.mean)
    told = [
        MeanStability(key, measure_label(key), len(means), float(np.mean(means)), *interval(means, seed=seed))
        for key, means in found.items()
    ]
    return sorted(told, key=lambda one: -one.mean)


def smoothing_gain(runs: Sequence[Run], *, seed: int = 0) -> Comparison | None:
    """Return smoothed − raw sensitivity in stability, paired by run; None where no log carries both.

    With ``log_measures=all`` FlexLoRA logs the raw one, and with ``policy=smoothed_sensitivity`` the other beside it.
    """
    differences = []
    for run in runs:
        means = {one.measure: one.mean for one in order_stability(run)}
        smoothed = next((means[key] for key in SMOOTHED if key in means), np.nan)
        difference = smoothed - means.get(RAW, np.nan)
        if np.isfinite(difference):
            differences.append(difference)
    return compare_pairs(differences, seed=seed) if differences else None


LEAST_EVENTS = 2


def _scores(run: Run, measure: str) -> np.ndarray:
    """Return the scores of each event, (E, M), NaN where undefined."""
    names = [matrix.name for matrix in run.matrices]
    scores = np.array(
        [[event["importance"].get(measure, {}).get(name) for name in names] for event in run.events], np.float64
    ).reshape(len(run.events), len(names))
    if silent_at_rank_one(measure) and len(run.steps):
        ranks = run.ranks[[record_of(run, event["step"]) for event in run.events]]
        # The formula has no value there; what stands in the log is a convention, and would be a constant.
        scores[ranks == 1] = np.nan
    return scores
