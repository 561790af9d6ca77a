"""``study_pictures``: every figure of a study, with its caption, one drawing for page, notebook and paper."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from analysis.figures import FIGURES
from analysis.stability import mean_stability
from analysis.study.bands import CURVES, metric_bands
from analysis.study.claims import claims
from analysis.study.compare import Compared, StudyTable
from analysis.study.groups import Group
from analysis.study.pareto import COSTS, pareto_points
from analysis.study.ranks import GroupRanks, group_ranks, rank_difference
from analysis.study.rates import rate_curves
from flexlora.errors import FlexLoRAError


@dataclass(frozen=True)
class Picture:
    """One figure.

    Attributes:
        name: of its file, without an ending.
        figure: to draw.
        caption: what it shows, in full sentences.
    """

    name: str
    figure: go.Figure
    caption: str


def study_pictures(
    study: StudyTable, found: Sequence[Compared], groups: Sequence[Group], margin: float | None = None
) -> list[Picture]:
    """Return all figures that have something to show.

    Args:
        study: its table.
        found: ``compare_study`` of it.
        groups: its runs, ``study_groups`` of it or those the table was made of.
        margin: a difference smaller than this would not matter; None = the study's.
    """
    margin = study.summary["margin"] if margin is None else margin
    places: dict[tuple[str, str], list[Group]] = {}
    for group in groups:
        places.setdefault(group.place, []).append(group)
    found_pictures = list(_of_table(study, found, margin))
    for place, own in places.items():
        reference = next((g["reference"] for g in study.summary["groups"] if (g["task"], g["cell"]) == place), "")
        ending = _slug(" ".join(place)) if len(places) > 1 else ""
        found_pictures += _of_runs(own, reference, f"-{ending}" * bool(ending), " at ".join(filter(None, place)))
    return found_pictures


def _of_table(study: StudyTable, found: Sequence[Compared], margin: float | None) -> Iterator[Picture]:
    if any(one.pairs for one in found):
        after = " after Holm" * (sum(one.pairs is not None for one in found) > 1)
        told = " ".join(claim.text for claim in claims(study, found, margin))
        yield Picture(
            "forest",
            FIGURES["forest"](found, margin),
            "Paired differences to the reference with 95 % BCa bootstrap intervals; grey ticks: the smallest true "
            f"difference found with 80 % power; p{after}. {told}",
        )
    for cost, told in COSTS.items():
        points = pareto_points(study, cost)
        # A cost that is the same for all tells nothing.
        if len({point.x for point in points}) > 1:
            metric = points[0].metric.replace("_", " ")
            yield Picture(
                f"cost-{cost}",
                FIGURES["pareto"](points),
                f"{metric[0].upper()}{metric[1:]} against {told.label}, means with 95 % intervals. Ringed: told apart "
                "as better than every other that is not surely dearer, if there is one; faint: surely behind one of "
                "those.",
            )
    rates = rate_curves(study)
    if rates:
        yield Picture(
            "learning-rates",
            FIGURES["learning_rates"](rates),
            "What each trial of the search reached on validation against its learning rate; ringed: chosen, by a "
            "square where it lies at an end of what was tried.",
        )


def _of_runs(groups: Sequence[Group], reference: str, ending: str, where: str) -> Iterator[Picture]:
    for key in CURVES:
        bands = metric_bands(groups, key)
        # What never changes in any group is told by a sentence.
        if any(len(band.steps) > 1 and np.ptp(band.mean) > 0 for band in bands):
            counts = sorted({band.n for band in bands})
            seeds = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
            yield Picture(
                f"over-time-{_slug(key)}{ending}",
                FIGURES["group_bands"](bands),
                f"{bands[0].label[0].upper()}{bands[0].label[1:]} on {where}, mean over {seeds} seeds with the 95 % "
                "interval of the mean at each step.",
            )
    stable = {group.label: mean_stability(list(group.intact().values())) for group in groups}
    if any(stable.values()):
        yield Picture(
            f"order-stability{ending}",
            FIGURES["group_stability"](stable, [group.method for group in groups]),
            f"Spearman's correlation of the order in which each measure puts the matrices with that at the event "
            f"before, on {where}: mean over events, then over seeds with 95 % intervals.",
        )
    yield from _maps(groups, reference, ending, where)


def _maps(groups: Sequence[Group], reference: str, ending: str, where: str) -> Iterator[Picture]:
    ranks: list[GroupRanks] = []
    for group in groups:
        try:
            ranks.append(group_ranks(group))
        except FlexLoRAError:
            # Without ranks, or with other matrices in each run, there is no map of it.
            continue
    if not ranks:
        return
    for show, told in (("mean", "mean"), ("spread", "standard deviation")):
        figure = FIGURES["group_rank_maps"](ranks, show)
        caption = f"Final rank of each matrix on {where}, {told} over seeds."
        yield Picture(f"final-rank-{show}{ending}", figure, caption)
    base = next((own for own in ranks if own.label == reference), None)
    for own in ranks:
        if base is None or own is base:
            continue
        try:
            apart = rank_difference(own, base)
        except FlexLoRAError:
            continue
        yield Picture(
            f"final-rank-{_slug(own.label)}-less-{_slug(reference)}{ending}",
            FIGURES["group_difference_map"](apart),
            f"Final rank of {own.label} less that of {reference} on {where}, mean of {apart.pairs} pairs. Framed: the "
            f"95 % interval excludes 0, in {int(apart.apart.sum())} of {len(apart.matrices)} matrices; framed twice: "
            f"also after Holm, {int(apart.claimed.sum())}.",
        )


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.") or "one"
