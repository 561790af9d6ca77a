"""Time a replay against the reading of the run it replays: 200 events × 72 and × 560 matrices.

    python benchmarks/what_if_speed.py

The run is made of random spectra by the log writer (not training: only shapes matter here). Medians of five, each
replay paired with ``load_run`` in the same round.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from analysis.runs import Run, load_run
from analysis.what_if import MODES, own_settings, replay
from flexlora.config import FlexLoRAConfig
from flexlora.importance import SCORED_BY_LAMBDA, score_all
from flexlora.run_log import RunWriter

EVENTS, RANK, ROUNDS = 200, 8, 5


def write(folder: Path, matrices: int) -> None:
    """Write a run of 200 events that moved nothing."""
    names = [f"layers.{number // 7}.m{number % 7}" for number in range(matrices)]
    config = FlexLoRAConfig(total_steps=EVENTS + 2, warmup_steps=0, final_steps=1, interval=1, initial_budget=0)
    table = [{"name": name, "layer": 0, "module_type": name, "in_features": 64, "out_features": 64} for name in names]
    header = {"method": "flexlora", "config": config.replace(initial_budget=12).to_dict(), "matrices": table}
    rng = np.random.default_rng(0)
    with RunWriter(folder, header) as writer:
        for step in range(1, EVENTS + 1):
            values = [rng.normal(size=RANK).astype(np.float32) for _ in names]
            writer.spectrum(step, values)
            scores = score_all(dict(zip(names, values, strict=True)), SCORED_BY_LAMBDA)
            writer.event(step, 0, scores, "spectral_entropy")
        writer.end("completed")


def median_ms(call: Callable[[], object]) -> float:
    """Return the median time of a call."""
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return 1e3 * float(np.median(times))


def report(run: Run, matrices: int) -> None:
    """Print the medians of one run."""
    base = median_ms(lambda: load_run(run.folder))
    config = own_settings(run)(1)
    for mode in MODES:
        for change in ({}, {"importance": "nuclear_norm"}, {"importance": "random"}, {"schedule": "adaptive"}):
            other = config.replace(**change)
            taken = median_ms(lambda other=other, mode=mode: replay(run, other, mode))
            print(f"{matrices} matrices, {mode}, {change or 'own'}: {taken:.0f} ms, {taken / base:.2f} × load_run")


def main() -> None:
    """Time both sizes."""
    for matrices in (72, 560):
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder) / "run", matrices)
            report(load_run(Path(folder) / "run"), matrices)


if __name__ == "__main__":
    main()
