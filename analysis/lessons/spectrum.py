"""Lesson 1: what an update is made of, and how evenly its energy is spread."""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.glossary.moment import Moment
from analysis.lessons.material import RUN, Material
from analysis.lessons.words import decimals, ends_of, sentence, sum_text
from analysis.metrics import matrix_label
from analysis.why.wording import ordinal, standing
from flexlora.importance import frobenius_norm, spectral_entropy

DIRECTIONS = 8
DECAYS = tuple(round(1 - 0.05 * i, 2) for i in range(17))
FACTORS = (1, 2, 5, 10, 20, 50, 100)


def facts(lab: Material) -> dict[str, Any]:
    """Return the numbers of the lesson, all of the run at its most instructive event."""
    run = lab.run(RUN)
    step, low, high = ends_of(run)
    record = run.record_at(step)
    places = {name: place + 1 for place, name in enumerate(_by_energy(run.energy[record], run.places))}
    loud = max(places, key=lambda name: places[name])
    at = {name: Moment(run, step, run.place_of(name)) for name in (low, high, loud)}
    first = run.matrices[run.place_of(low)]
    ranks = run.ranks[record]
    largest = [run.matrices[place].name for place in np.flatnonzero(ranks == ranks.max())]
    entropy = run.entropy[record]
    return {
        "run": RUN,
        "step": step,
        "matrices": len(run.matrices),
        "first_rank": int(run.ranks[0, 0]),
        "total": int(ranks.sum()),
        "scale": run.scale,
        "rows": first.out_features,
        "columns": first.in_features,
        "entries": first.out_features * first.in_features,
        "cost": first.out_features + first.in_features + 1,
        "largest": largest,
        "largest_rank": int(ranks.max()),
        "rank_told": {m.name: f"{sentence(matrix_label(m))} has rank {ranks[i]}." for i, m in enumerate(run.matrices)},
        "low": low,
        "low_label": matrix_label(first),
        "low_rank": at[low].rank,
        "low_weights": decimals(at[low].weights, 3),
        "low_shares": decimals(at[low].shares, 3),
        "low_top": float(at[low].shares[0]),
        "low_entropy": at[low].entropy,
        "low_sum": sum_text(at[low].shares),
        "low_bars": at[low].shares.tolist(),
        "low_sizes": at[low].weights.tolist(),
        "low_sizes_top": float(at[low].weights[0]) * 1.15,
        "high_bars": at[high].shares.tolist(),
        "high": high,
        "high_label": matrix_label(run.matrices[run.place_of(high)]),
        "high_rank": at[high].rank,
        "high_shares": decimals(at[high].shares, 3),
        "high_top": float(at[high].shares[0]),
        "high_entropy": at[high].entropy,
        "high_energy": float(run.energy[record, run.place_of(high)]),
        "loud": [loud],
        "loud_name": loud,
        "loud_label": matrix_label(run.matrices[run.place_of(loud)]),
        "loud_energy": float(run.energy[record, run.place_of(loud)]),
        "loud_entropy": at[loud].entropy,
        "loud_place": ordinal(int((entropy < entropy[run.place_of(loud)]).sum()) + 1),
        "energy_ratio": float(run.energy[record, run.place_of(loud)] / run.energy[record, run.place_of(high)]),
        "energy_told": {
            m.name: f"{sentence(matrix_label(m))} has energy {run.energy[record, i]:.4f}: "
            f"{standing(len(places) + 1 - places[m.name], 'highest', len(places))}."
            for i, m in enumerate(run.matrices)
        },
        "decays": [_decay(q) for q in DECAYS],
        "scales": [_scaled(at[low].weights, factor) for factor in FACTORS],
    }


def _by_energy(energy: np.ndarray, places: dict[str, int]) -> list[str]:
    return sorted(places, key=lambda name: energy[places[name]])


def _decay(q: float) -> dict[str, Any]:
    values = q ** np.arange(DIRECTIONS)
    entropy = spectral_entropy(values) or 0.0
    return {
        "value": entropy,
        "label": f"each λ is {q:.2f} of the one before",
        "bars": values.tolist(),
        "numbers": [["entropy I", f"{entropy:.2f}"], ["largest share", f"{1 / np.square(values).sum():.0%}"]],
    }


def _scaled(weights: np.ndarray, factor: int) -> dict[str, Any]:
    values = weights * factor
    entropy, norm = spectral_entropy(values) or 0.0, frobenius_norm(values) or 0.0
    return {
        "value": factor,
        "label": f"every λ times {factor}",
        "bars": (values / (weights.max() * FACTORS[-1])).tolist(),
        "numbers": [["entropy I", f"{entropy:.4f}"], ["√Σλ²", f"{norm:.3g}"]],
    }
