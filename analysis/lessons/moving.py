"""Lesson 5: what is left of the moves, whether λ says what it seems to, and what chance alone would do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from analysis.glossary.moment import Moment
from analysis.lessons.material import REFERENCE, RUN, Material
from analysis.lessons.words import percent, sentence
from analysis.metrics import churn, final_ranks, gross_moves, matrix_label, net_moves, net_share, spectrum_gap
from analysis.runs import Run
from analysis.stability import order_stability
from analysis.study import StudyTable, study_groups
from flexlora.importance import effective_rank

ENOUGH = 0.99
"""Share of the energy that counts as all that matters."""


def facts(lab: Material) -> dict[str, Any]:
    """Return the numbers of the lesson."""
    run, reference = lab.run(RUN), lab.run(REFERENCE)
    ranks = final_ranks(run)
    most = int(ranks.argmax())
    last = int(run.steps[-1])
    return {
        "run": RUN,
        "reference": REFERENCE,
        "last": last,
        "reference_last": int(reference.steps[-1]),
        "matrices": len(ranks),
        "first_rank": int(run.ranks[0, 0]),
        "rank_one": str(run.config["rank_one"]),
        "lowest_count": int((ranks == ranks.min()).sum()),
        "lowest_rank": int(ranks.min()),
        "highest_rank": int(ranks.max()),
        "gainers": [run.matrices[place].name for place in np.flatnonzero(ranks == ranks.max())],
        "top_label": matrix_label(run.matrices[most]),
        **_used(run, last, int(np.argsort(-ranks, kind="stable")[1])),
        "other": run.matrices[int(ranks.argmin())].name,
        "change_told": {
            m.name: f"{sentence(matrix_label(m))} went from {run.ranks[0, place]} to {ranks[place]}."
            for place, m in enumerate(run.matrices)
        },
        "gross": gross_moves(run),
        "net": net_moves(run),
        "lost": gross_moves(run) - net_moves(run),
        "net_share": percent(net_share(run)),
        "churn": percent(churn(run)),
        "churn_count": round(churn(run) * sum(len(event["prune"]) for event in run.events)),
        "gap": float(np.nanmedian(spectrum_gap(run))),
        "reference_gap": float(np.nanmedian(spectrum_gap(reference))),
        "gap_most": float(np.nanmax(spectrum_gap(run))),
        **(there := _gap_at_end(reference)),
        **_same_here(run, there["gap_matrix"], there["gap_step"]),
        **_stability(run),
        **_by_chance(lab.study()[0]),
    }


def _used(run: Run, step: int, place: int) -> dict[str, Any]:
    """How many directions of a matrix hold nearly all of its energy. It is not the one that the steps before show."""
    at = Moment(run, step, place)
    needed = int(np.searchsorted(np.cumsum(at.shares), ENOUGH) + 1)
    effective = effective_rank(at.weights)
    assert effective is not None
    return {
        "used_label": matrix_label(run.matrices[place]),
        "used_rank": at.rank,
        "needed": needed,
        "few": needed // 3,
        "effective": effective,
        "used_bars": at.shares.tolist(),
        "used_top": float(at.shares[0]) * 1.15,
    }


def _gap_at_end(run: Run) -> dict[str, Any]:
    """The matrix of the reference run whose entropies of λ and of ΔW itself lie furthest apart at its last event."""
    steps, true = run.true_entropy
    own = run.entropy[np.searchsorted(run.steps, steps)]
    at = int(np.searchsorted(steps, run.events[-1]["step"]))
    gap = np.abs(own[at] - true[at])
    place = int(np.nanargmax(gap))
    matrix, shares = run.matrices[place], Moment(run, int(steps[at]), place).shares
    true_shares = _true_shares(run, int(steps[at]), matrix.name)
    root = float(np.sqrt(matrix.in_features))
    return {
        "gap_matrix": matrix.name,
        "gap_label": matrix_label(matrix),
        "gap_step": int(steps[at]),
        **_beside("gap", shares, true_shares),
        "gap_first": float(true_shares[0]),
        "gap_square": matrix.in_features == matrix.out_features,
        "entries": matrix.in_features,
        "length_first": root * float(run.config["initial_std"]),
        "length_new": root * float(run.config["new_direction_std"]),
        "times": (float(run.config["new_direction_std"]) / float(run.config["initial_std"])) ** 2,
        "reference_rank_one": str(run.config["rank_one"]),
        "gap_lambda": float(own[at, place]),
        "gap_sigma": float(true[at, place]),
    }


def _same_here(run: Run, name: str, step: int) -> dict[str, Any]:
    """The same matrix at the same step of the run whose regulariser holds P and Q."""
    place, record = run.place_of(name), run.record_at(step)
    steps, true = run.true_entropy
    at, values = run.metrics["regularizer"]
    shares, true_shares = Moment(run, step, place).shares, _true_shares(run, step, name)
    return {
        **_beside("own", shares, true_shares),
        "own_top": 1.15 * max(float(shares[0]), float(true_shares[0])),
        "own_lambda": float(run.entropy[record, place]),
        "own_sigma": float(true[np.searchsorted(steps, step), place]),
        "own_regularizer": float(values[np.flatnonzero(at == step)[0]]),
    }


def _true_shares(run: Run, step: int, name: str) -> np.ndarray:
    """Shares of the energy by true singular values, the largest first."""
    known = run.true_singular_values(step)
    assert known is not None
    energy = np.square(np.sort(known[1][name])[::-1].astype(np.float64))
    return energy / energy.sum()


def _beside(name: str, shares: np.ndarray, true_shares: np.ndarray) -> dict[str, Any]:
    """A picture of the shares by λ, beside those by true singular values, which are hidden at first."""
    count = len(shares)
    return {
        f"{name}_bars": [*shares.tolist(), *true_shares.tolist()],
        f"{name}_labels": 2 * [str(i + 1) for i in range(count)],
        f"{name}_groups": [["by λ", count], ["by true singular values", count]],
        f"{name}_hidden": list(range(count, 2 * count)),
        f"{name}_count": count,
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
        "stable_bars": [round(max(0.0, mean[key]), 2) for key in shown],
        "stable_labels": list(shown.values()),
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
        "chance_top": max(float(np.mean(each)) for each in (gross, random_gross)) * 1.15,
    }


def _moves(runs: Iterable[Run]) -> tuple[list[int], list[float]]:
    own = list(runs)
    return [gross_moves(run) for run in own], [net_moves(run) for run in own]
