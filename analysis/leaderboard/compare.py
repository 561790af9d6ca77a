"""What a table of single runs can tell: the spread of reruns, what that lets differ, who is told apart from whom."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.leaderboard.read import COSTS, Result
from analysis.leaderboard.reruns import group_reruns
from analysis.statistics import CONFIDENCE, detectable_shift, holm

TOLD_RATIO = 1.1
"""A cost that differs between reruns by less is told as it is."""


@dataclass(frozen=True)
class Standing:
    """One configuration.

    Attributes:
        experiment: its name, with what differs where one name has several configurations.
        peft_type: such as ``LORA``.
        n: runs.
        mean: of the measure.
        half: half-width of its 95 % interval, from the spread that all reruns share; NaN without reruns anywhere.
        costs: mean of each cost that is told.
        total_rank: in the end, of AdaLoRA's latest run; None for others.
        adjusted_p: of "as good as the best", Holm over the table; NaN for the best itself and without reruns.
        told_apart: True where that is at most .05.
        front: True where none is at least as accurate and cheaper, or as cheap and more accurate, by the means.
        surely_behind: True where one that costs no more is better, and told apart from it.
    """

    experiment: str
    peft_type: str
    n: int
    mean: float
    half: float
    costs: dict[str, float]
    total_rank: int | None
    adjusted_p: float
    told_apart: bool
    front: bool
    surely_behind: bool


@dataclass(frozen=True)
class Board:
    """A table of configurations, the best first.

    Attributes:
        standings: one a configuration.
        runs: how many are behind them.
        spread: pooled standard deviation of reruns of one configuration; NaN without reruns.
        freedom: its degrees of freedom.
        detectable: smallest true difference between two single runs that is found with 80 % power; NaN without reruns.
        pairs_for: true difference → runs of each configuration that it takes to find it.
        cost: key of ``COSTS`` by which the front is drawn.
        measure: what the test measured, such as ``accuracy``.
        one_seed: True where no configuration was run with two seeds, though one was run twice.
        cost_ratio: largest ratio of that cost between reruns of one configuration; 1 without reruns.
    """

    standings: list[Standing]
    runs: int
    spread: float
    freedom: int
    detectable: float
    pairs_for: dict[float, int]
    cost: str
    measure: str = "accuracy"
    one_seed: bool = False
    cost_ratio: float = 1.0


def rank_results(results: Sequence[Result], *, cost: str = "memory_bytes") -> Board:
    """Group reruns, pool their spread, and say who is told apart.

    Runs of different configurations are not paired, so that differences have the spread of two runs. It is taken to be
    the same for all configurations: with two runs of each there is no other way.

    Args:
        results: at least one.
        cost: key of ``COSTS``; a configuration that does not tell it is on no front.
    """
    from scipy import stats

    groups = group_reruns(results)
    scores = [np.array([result.score for result in own]) for own in groups.values()]
    freedom = sum(len(own) - 1 for own in scores)
    squares = sum(float(((own - own.mean()) ** 2).sum()) for own in scores)
    spread = math.sqrt(squares / freedom) if freedom else math.nan
    means = np.array([own.mean() for own in scores])
    counts = np.array([len(own) for own in scores])
    adjusted = _against_best(means, counts, spread, freedom)
    costs = [_costs(own) for own in groups.values()]
    paid = np.array([own.get(cost, math.nan) for own in costs])
    limit = stats.t.ppf((1 + CONFIDENCE) / 2, freedom) * spread if freedom else math.nan
    standings = []
    for place, (name, own) in enumerate(groups.items()):
        last = own[-1]
        standings.append(
            Standing(
                experiment=name,
                peft_type=last.peft_type,
                n=len(own),
                mean=float(means[place]),
                half=float(limit / math.sqrt(len(own))),
                costs=costs[place],
                total_rank=last.total_rank,
                adjusted_p=adjusted[place],
                told_apart=bool(adjusted[place] <= 1 - CONFIDENCE),
                front=_on_front(means, paid, place),
                surely_behind=_behind(means, counts, paid, spread, freedom, place),
            )
        )
    standings.sort(key=lambda own: -own.mean)
    found = spread * detectable_shift(freedom + 1) * math.sqrt(2) if freedom else math.nan
    needed = {size: runs_needed(size, spread) for size in (0.005, 0.01, 0.02)} if freedom and spread else {}
    one_seed = freedom > 0 and all(len({result.seed for result in own} - {None}) == 1 for own in groups.values())
    ratio = max((_ratio(own, cost) for own in groups.values()), default=1.0)
    return Board(standings, len(results), spread, freedom, found, needed, cost, results[0].measure, one_seed, ratio)


def describe_board(board: Board) -> list[str]:
    """Return what a table can tell and what it cannot, in a few sentences."""
    lines = [f"{_counted(board.runs, 'run')} of {_counted(len(board.standings), 'configuration')}."]
    if math.isnan(board.spread):
        return [*lines, "No configuration was run twice: nothing can be said about which differences are real."]
    together = sum(not own.told_apart for own in board.standings) - 1
    others = "1 other is not" if together == 1 else f"{together} others are not" if together else "Every other one is"
    lines.append(
        f"Reruns of one configuration spread by {board.spread:.4f} (pooled, {board.freedom} degrees of freedom): "
        f"two single runs tell {board.detectable:.3f} apart with 80 % power. {others} told apart from "
        "the best (Holm over the table)."
    )
    told = ", ".join(f"{runs} runs each for {size:g}" for size, runs in board.pairs_for.items())
    lines += [f"It would take {told}."] if told else []
    if board.one_seed:
        lines.append("All reruns have the seed of the first run: what another seed changes is not in this spread.")
    if board.cost_ratio >= TOLD_RATIO:
        lines.append(
            f"The cost is no constant: it differs between reruns of one configuration by up to a factor of "
            f"{board.cost_ratio:.2g}."
        )
    return lines


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def runs_needed(difference: float, spread: float) -> int:
    """Return how many unpaired runs of each of two configurations find a true difference with 80 % power."""
    runs = 2
    while spread * detectable_shift(2 * runs - 1) * math.sqrt(2 / runs) > difference:
        runs += 1
    return runs


def _p(difference: float, one: int, other: int, spread: float, freedom: int) -> float:
    """Return the two-sided p of a difference of means under the pooled spread."""
    from scipy import stats

    if not freedom:
        return math.nan
    error = spread * math.sqrt(1 / one + 1 / other)
    if error == 0:
        return 1.0 if difference == 0 else 0.0
    return float(2 * stats.t.sf(abs(difference) / error, freedom))


def _against_best(means: np.ndarray, counts: np.ndarray, spread: float, freedom: int) -> list[float]:
    best = int(means.argmax())
    found = {
        str(place): math.nan if place == best else _p(means[best] - mean, counts[best], counts[place], spread, freedom)
        for place, mean in enumerate(means)
    }
    return list(holm(found).values())


def _on_front(means: np.ndarray, paid: np.ndarray, place: int) -> bool:
    if math.isnan(paid[place]):
        return False
    better = (means >= means[place]) & (paid <= paid[place]) & ((means > means[place]) | (paid < paid[place]))
    return not better.any()


def _behind(means: np.ndarray, counts: np.ndarray, paid: np.ndarray, spread: float, freedom: int, place: int) -> bool:
    """True when one that is no dearer is better beyond the spread, all of those at once (Holm)."""
    rivals = [other for other in np.flatnonzero(paid <= paid[place]).tolist() if means[other] > means[place]]
    p_values = {
        str(other): _p(means[other] - means[place], counts[other], counts[place], spread, freedom) for other in rivals
    }
    return any(p <= 1 - CONFIDENCE for p in holm(p_values).values())


def _ratio(own: Sequence[Result], cost: str) -> float:
    values = [result.costs[cost] for result in own if result.costs.get(cost)]
    return max(values) / min(values) if values else 1.0


def _costs(own: Sequence[Result]) -> dict[str, float]:
    found = {}
    for key in COSTS:
        values = [result.costs[key] for result in own if key in result.costs]
        if values:
            found[key] = float(np.mean(values))
    return found
