"""Lesson 5: what is left of the moves, whether λ says what it seems to, and what chance alone would do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from analysis.glossary.moment import Moment
from analysis.lessons.material import REFERENCE, RUN, Material
from analysis.lessons.words import ends_of, percent, sentence
from analysis.metrics import churn, final_ranks, gross_moves, matrix_label, net_moves, net_share, spectrum_gap
from analysis.runs import Run, exact_event
from analysis.stability import order_stability
from analysis.study import StudyTable, study_groups
from analysis.why import why_card
from analysis.why.rules import RANK_ONE
from flexlora.importance import effective_rank

ENOUGH = 0.99
"""Share of the energy that counts as all that matters."""


def facts(lab: Material) -> dict[str, Any]:
    """Return the numbers of the lesson."""
    run, reference = lab.run(RUN), lab.run(REFERENCE)
    ranks = final_ranks(run)
    most = int(ranks.argmax())
    last = int(run.steps[-1])
    top = Moment(run, last, most)
    rank_one = str(run.config["rank_one"])
    needed = int(np.searchsorted(np.cumsum(top.shares), ENOUGH) + 1)
    effective = effective_rank(top.weights)
    assert effective is not None
    return {
        "run": RUN,
        "reference": REFERENCE,
        "last": last,
        "reference_last": int(reference.steps[-1]),
        "matrices": len(ranks),
        "first_rank": int(run.ranks[0, 0]),
        "rank_one": rank_one,
        "rank_one_told": RANK_ONE[rank_one],
        "lowest_count": int((ranks == ranks.min()).sum()),
        "lowest_rank": int(ranks.min()),
        "highest_rank": int(ranks.max()),
        "gainers": [run.matrices[place].name for place in np.flatnonzero(ranks == ranks.max())],
        "top": top.name,
        "top_label": matrix_label(run.matrices[most]),
        "top_rank": top.rank,
        "needed": needed,
        "few": needed // 3,
        "top_top": float(top.shares[0]) * 1.15,
        "effective": effective,
        "top_bars": top.shares.tolist(),
        "other": run.matrices[int(ranks.argmin())].name,
        "change_told": {
            m.name: f"{sentence(matrix_label(m))} went from {run.ranks[0, place]} to {ranks[place]}."
            for place, m in enumerate(run.matrices)
        },
        "gross": gross_moves(run),
        "half_gross": gross_moves(run) / 2,
        "net": net_moves(run),
        "lost": gross_moves(run) - net_moves(run),
        "net_share": percent(net_share(run)),
        "churn": percent(churn(run)),
        "gap": float(np.nanmedian(spectrum_gap(run))),
        "reference_gap": float(np.nanmedian(spectrum_gap(reference))),
        "reference_last_gap": float(spectrum_gap(reference)[-1]),
        **_gap_at_end(reference),
        **_closeness(run),
        **_stability(run),
        **_by_chance(lab.study()[0]),
    }


def _gap_at_end(run: Run) -> dict[str, Any]:
    """The matrix of the reference run whose entropies of λ and of ΔW itself lie furthest apart at its last event."""
    steps, true = run.true_entropy
    own = run.entropy[np.searchsorted(run.steps, steps)]
    at = int(np.searchsorted(steps, run.events[-1]["step"]))
    gap = np.abs(own[at] - true[at])
    place = int(np.nanargmax(gap))
    return {
        "gap_matrix": run.matrices[place].name,
        "gap_label": matrix_label(run.matrices[place]),
        "gap_step": int(steps[at]),
        "gap_bars": (shares := Moment(run, int(steps[at]), place).shares).tolist(),
        "gap_top": float(shares[0]) * 1.15,
        "gap_lambda": float(own[at, place]),
        "gap_sigma": float(true[at, place]),
    }


def _closeness(run: Run) -> dict[str, Any]:
    """How many decisions of the event that the lessons look at had a margin below the noise of the score."""
    step, _, _ = ends_of(run)
    event = exact_event(run, step)
    assert event is not None
    moved = [move["matrix"] for half in ("prune", "extend") for move in event[half]]
    ratios = []
    for name in moved:
        card = why_card(run, step, name)
        assert card is not None
        value = next((line["value"] for line in card["lines"] if line["key"] == "ratio"), None)
        if value is not None:
            ratios.append(float(value))
    return {
        "step": step,
        "judged": len(ratios),
        "undecided": sum(ratio < 1 for ratio in ratios),
        "clear": sum(ratio >= 3 for ratio in ratios),
    }


def _stability(run: Run) -> dict[str, Any]:
    """Mean Spearman correlation of the order of matrices from event to event, over the events that moved something."""
    moved = max(event["step"] for event in run.events if event["prune"])
    mean = {found.measure: float(found.correlation[found.steps <= moved].mean()) for found in order_stability(run)}
    shown = {
        "spectral_entropy": "entropy",
        "sensitivity": "sensitivity",
        "frobenius_norm": "√energy",
        "random": "random numbers",
    }
    return {
        "stable_entropy": mean["spectral_entropy"],
        "stable_norm": mean["frobenius_norm"],
        "stable_sensitivity": mean["sensitivity"],
        "stable_random": mean["random"],
        "stable_bars": [max(0.0, mean[key]) for key in shown],
        "stable_labels": list(shown.values()),
        "stable_values": [f"{mean[key]:.2f}" for key in shown],
    }


def _by_chance(study: StudyTable) -> dict[str, Any]:
    """Gross and net moves of the study's runs by entropy and by random numbers."""
    found = {group.label: _moves(group.runs.values()) for group in study_groups(study)}
    (gross, net), (random_gross, random_net) = found["FlexLoRA"], found["random moves"]
    return {
        "study_seeds": len(gross),
        "study_task": next(iter({group.task for group in study_groups(study)})),
        "study_rank": int(next(iter(study_groups(study)[0].runs.values())).ranks[-1].sum()),
        "study_gross": float(np.mean(gross)),
        "study_net": float(np.mean(net)),
        "random_gross": float(np.mean(random_gross)),
        "random_net": float(np.mean(random_net)),
        "chance_bars": [float(np.mean(each)) for each in (net, random_net)],
        "chance_values": [f"{np.mean(each):.1f}" for each in (net, random_net)],
        "chance_top": max(float(np.mean(each)) for each in (gross, random_gross)) * 1.15,
    }


def _moves(runs: Iterable[Run]) -> tuple[list[int], list[float]]:
    own = list(runs)
    return [gross_moves(run) for run in own], [net_moves(run) for run in own]
