"""Lesson 1: what an update is made of, and how evenly its energy is spread."""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.glossary.moment import Moment
from analysis.lessons.material import PLAIN, RUN, Material
from analysis.lessons.words import decimals, ends_of, percent, sentence, sum_text
from analysis.metrics import matrix_label
from analysis.runs import Run
from analysis.why.wording import standing
from flexlora.importance import frobenius_norm, spectral_entropy

DIRECTIONS = 8
DECAYS = tuple(round(1 - 0.02 * i, 2) for i in range(41))
FACTORS = (1, 2, 3, 4, 6, 8, 10)


def facts(lab: Material) -> dict[str, Any]:
    """Return the numbers of the lesson, all of the run just before its most instructive event."""
    run = lab.run(RUN)
    event, low, high = ends_of(run)
    record = run.record_at(event) - 1
    step = int(run.steps[record])
    at = {name: Moment(run, step, run.place_of(name)) for name in (low, high)}
    first = run.matrices[run.place_of(low)]
    ranks = run.ranks[record]
    largest = [run.matrices[place].name for place in np.flatnonzero(ranks == ranks.max())]
    return {
        "run": RUN,
        "step": step,
        "matrices": len(run.matrices),
        "first_rank": int(run.ranks[0, 0]),
        "total": int(ranks.sum()),
        # Not the matrix of the next step, whose shares are asked for there.
        "begin": next(m.name for m in run.matrices if m.name not in (low, high, *largest)),
        "largest_count": len(largest),
        **_maps(run, lab.run(PLAIN)),
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
        "low_sum": sum_text(at[low].shares).replace(" + ", "\n+ ", 1),
        "low_bars": at[low].shares.tolist(),
        "low_sizes": at[low].weights.tolist(),
        "low_sizes_top": float(at[low].weights[0]) * 1.15,
        "both_bars": [*at[low].shares.tolist(), *at[high].shares.tolist()],
        "both_labels": [str(place + 1) for name in (low, high) for place in range(at[name].rank)],
        "both_groups": [[matrix_label(run.matrices[run.place_of(name)]), at[name].rank] for name in (low, high)],
        "high": high,
        "high_label": matrix_label(run.matrices[run.place_of(high)]),
        "high_rank": at[high].rank,
        "high_shares": decimals(at[high].shares, 3),
        "high_top": float(at[high].shares[0]),
        "high_entropy": at[high].entropy,
        **_energies(run, record, high),
        "decays": [_decay(q) for q in DECAYS],
        **_halfway(),
        "scales": [_scaled(at[low].weights, factor) for factor in FACTORS],
    }


def _maps(run: Run, plain: Run) -> dict[str, Any]:
    """Final ranks of FlexLoRA's run and of LoRA's, as maps of layers and kinds."""
    kinds = list(dict.fromkeys(m.module_type for m in run.matrices))
    found = [(label, _map(own, kinds)) for label, own in (("LoRA", plain), ("FlexLoRA", run))]
    totals = {f"{label.lower()}_total": sum(map(sum, ranks)) for label, ranks in found}
    flat = {f"{label.lower()}_ranks": sorted({rank for row in ranks for rank in row}) for label, ranks in found}
    return {
        "maps": [{"label": label, "ranks": ranks} for label, ranks in found],
        "maps_told": [
            {"label": f"{label}, total rank {sum(map(sum, ranks))}", "ranks": ranks} for label, ranks in found
        ],
        "kinds": kinds,
        **totals,
        **flat,
        "flex_least": flat["flexlora_ranks"][0],
        "flex_most": flat["flexlora_ranks"][-1],
    }


def _map(run: Run, kinds: list[str]) -> list[list[int]]:
    ranks = {(m.layer, m.module_type): int(rank) for m, rank in zip(run.matrices, run.ranks[-1], strict=True)}
    layers = sorted({m.layer or 0 for m in run.matrices})
    return [[ranks.get((layer, kind), 0) for kind in kinds] for layer in layers]


def _energies(run: Run, record: int, high: str) -> dict[str, Any]:
    """The matrix of most energy beside that of the highest entropy, and what is said of each that is picked."""
    energy, entropy = run.energy[record], run.entropy[record]
    place, count = int(energy.argmax()), len(energy)
    own = float(energy[run.place_of(high)])
    return {
        "high_energy": own,
        "loud": [run.matrices[place].name],
        "loud_label": matrix_label(run.matrices[place]),
        "loud_entropy": float(entropy[place]),
        "loud_below": int((entropy < entropy[place]).sum()),
        "loud_above": int((entropy > entropy[place]).sum()),
        "energy_ratio": float(energy[place]) / own,
        "energy_told": {
            m.name: f"{sentence(matrix_label(m))} has energy {energy[i]:.4f}: "
            f"{standing(1 + int((energy > energy[i]).sum()), 'highest', count)}."
            for i, m in enumerate(run.matrices)
        },
    }


def _decay(q: float) -> dict[str, Any]:
    values = q ** np.arange(DIRECTIONS)
    entropy = spectral_entropy(values) or 0.0
    return {
        "value": entropy,
        "label": f"each λ is {q:.2f} of the one before",
        "bars": values.tolist(),
        "numbers": [["entropy I", f"{entropy:.2f}"], ["largest share", percent(float(1 / np.square(values).sum()))]],
    }


def _halfway() -> dict[str, Any]:
    """What the smaller half of the directions holds where the slider is nearest to entropy 0.5."""
    powers = np.array([q ** np.arange(DIRECTIONS) for q in DECAYS])
    entropies = [spectral_entropy(values) or 0.0 for values in powers]
    nearest = int(np.argmin(np.abs(np.array(entropies) - 0.5)))
    energy = np.square(powers[nearest])
    left = float(energy[DIRECTIONS // 2 :].sum() / energy.sum())
    return {
        "half_entropy": entropies[nearest],
        "half_all": DIRECTIONS,
        "half_count": DIRECTIONS // 2,
        "half_left": left,
        "half_share": percent(left),
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
