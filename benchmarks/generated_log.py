"""Write a GENERATED log for measurements of size and speed; no training is behind it, and it is no sample run.

Every matrix starts at half of the widest rank; each event moves directions from the matrices of least entropy to those
of most; true singular values are there at events and at the last record, as a writer leaves them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from flexlora.run_log import RunWriter

TYPES = ("query", "key", "value", "attn_out", "ffn_gate", "ffn_in", "ffn_out")
SHAPES = {36: 6, 72: 6, 224: 7, 560: 7}
"""Matrices → module types a layer."""


def write_log(folder: Path, matrices: int, records: int = 2000, widest: int = 64, interval: int = 10) -> None:
    """Write one log.

    Args:
        folder: made for it.
        matrices: one of ``SHAPES``.
        records: spectrum records, one a step.
        widest: most directions that a matrix may have.
        interval: steps between events, which fill the middle of the run.
    """
    generator = np.random.default_rng(matrices)
    types = SHAPES[matrices]
    rows = [
        {"name": f"layers.{n // types}.{TYPES[n % types]}", "layer": n // types, "module_type": TYPES[n % types]}
        for n in range(matrices)
    ]
    names = [row["name"] for row in rows]
    start, stop = records // 10, records * 9 // 10
    config = {"initial_rank": widest // 2, "alpha": float(widest), "total_steps": records, "schedule": "paper"}
    config |= {"initial_budget": matrices // 8, "warmup_steps": start, "final_steps": records - stop}
    config |= {"interval": interval, "max_rank": widest, "min_rank": 1, "importance": "spectral_entropy"}
    header = {
        "method": "flexlora",
        "preset": "generated",
        "task": "none: generated for a benchmark",
        "config": config,
        "matrices": [{**row, "in_features": 4096, "out_features": 4096} for row in rows],
    }
    values = np.abs(generator.normal(size=(matrices, widest))).astype(np.float32) * 1e-3
    active = [list(range(widest // 2)) for _ in names]
    with RunWriter(folder, header) as writer:
        for step in range(1, records + 1):
            values *= 1 + generator.normal(0.002, 0.02, size=values.shape).astype(np.float32)
            own = [values[m, slots] for m, slots in enumerate(active)]
            event = start <= step < stop and (step - start) % interval == 0
            budget = round(matrices / 8 * (1 - (step - start) / (stop - start))) if event else 0
            writer.step(step, 2.0 / (1 + step / 300) + generator.normal(0, 0.02), 0.01, 2.0, 1e-3, budget)
            # One second of training between two flushes would be far fewer records than a generator makes.
            if step % 20 == 0:
                writer.flush()
            true = [np.sort(2 * v)[::-1] for v in own] if event or step == records else None
            writer.spectrum(step, own, true)
            if event:
                scores = _entropies(own)
                prune, extend = _moves(np.argsort(scores).tolist(), names, active, values, budget, widest)
                importance = {"spectral_entropy": dict(zip(names, scores, strict=True))}
                writer.event(step, budget, importance, "spectral_entropy", prune, extend)
        writer.eval(records, "validation", {"accuracy": 0.5}, samples=1)
        writer.end("completed")


def _entropies(spectra: list[np.ndarray]) -> list[float]:
    found = []
    for spectrum in spectra:
        share = spectrum.astype(np.float64) ** 2
        share /= share.sum()
        found.append(1.0 if len(share) == 1 else float(-(share * np.log(share)).sum() / np.log(len(share))))
    return found


def _moves(
    order: list[int],
    names: list[str],
    active: list[list[int]],
    values: np.ndarray,
    budget: int,
    widest: int,
) -> tuple[list[dict], list[dict]]:
    """Move up to ``budget`` directions from the first of an order to its last; return what was pruned and extended."""
    prune, extend = [], []
    for giver, taker in zip(order[:budget], order[-budget:] if budget else [], strict=True):
        if giver == taker or len(active[giver]) < 2 or len(active[taker]) >= widest:
            continue
        slot = min(active[giver], key=lambda own: values[giver, own])
        free = min(set(range(widest)) - set(active[taker]))
        value = float(values[giver, slot])
        prune.append({"matrix": names[giver], "slot": slot, "singular_value": value, "rules": []})
        extend.append({"matrix": names[taker], "slot": free, "rules": []})
        active[giver].remove(slot)
        active[taker] = sorted([*active[taker], free])
    return prune, extend
