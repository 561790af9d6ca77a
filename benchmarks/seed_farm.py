"""What a farmed run costs beside one alone: ``python benchmarks/seed_farm.py --task planted --lanes 16``.

Each round trains ``--lanes`` runs together and a few of them alone, interleaved; printed is the ratio of seconds a run
takes, the median over rounds and its spread, for whole runs: building, evaluating and logging are in it.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from flexlora.farm import run_farm
from flexlora.job import Job, build_job
from flexlora.loop import run_job


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="planted")
    parser.add_argument("--method", default="flexlora")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--lanes", type=int, default=16)
    parser.add_argument("--alone", type=int, default=2, help="runs alone in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(1)
    settings: dict[str, Any] = {"save_adapter": False, "checkpoint_interval_s": 1e9, "eval_interval": 100_000}
    settings |= {"log_measures": "lambda", "device": options.device}
    jobs = [
        build_job(options.task, options.method, None, options.steps, seed, settings) for seed in range(options.lanes)
    ]
    ratios, farmed = [], []
    for number in range(options.rounds + 1):
        with tempfile.TemporaryDirectory() as folder:
            alone = _alone(jobs[: options.alone], Path(folder))
            began = time.perf_counter()
            run_farm(jobs, [Path(folder) / f"farm{seed}" for seed in range(options.lanes)])
            together = (time.perf_counter() - began) / options.lanes
        if number:
            # The first round warms up.
            ratios.append(alone / together)
            farmed.append(together)
    told = f"{options.task}, {options.method}, {options.steps} steps, {options.lanes} lanes on {options.device}"
    print(
        f"{told}: a run alone takes {statistics.median(ratios):.2f} times as long ({min(ratios):.2f} to "
        f"{max(ratios):.2f}, {options.rounds} rounds); {statistics.median(farmed):.3f} s a run in the farm"
    )


def _alone(jobs: list[Job], folder: Path) -> float:
    began = time.perf_counter()
    for job in jobs:
        run_job(job, folder / f"alone{job.config.seed}")
    return (time.perf_counter() - began) / len(jobs)


if __name__ == "__main__":
    main()
