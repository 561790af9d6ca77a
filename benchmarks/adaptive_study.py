"""Compare the adaptive schedule with fixed ones, at equal budget and at equal moves, paired by seed.

    python benchmarks/adaptive_study.py words --seeds 24 --jobs 16 --device cuda --out study_out
    python benchmarks/adaptive_study.py trec --trec FOLDER --rank 4 ...

Stage 1 trains fixed ranks, ``paper``, ``cubic`` with the same number of moves as ``paper``, random moves under
``paper``, and ``adaptive``. Stage 2 repeats ``paper``, ``cubic`` and random moves with as many moves as ``adaptive``
made with the same seed (random: event by event; the others by the b0 that comes closest). Finished runs are not
repeated. Intervals are 95 % Student-t over seeds.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from analysis import metrics
from analysis.runs import Run, load_run
from flexlora.config import FlexLoRAConfig
from flexlora.job import build_job

BUDGET = 12
QUIET = {"save_adapter": False, "checkpoint_interval_s": 1e9, "eval_interval": 1000, "log_measures": "lambda"}


def moves_of(config: FlexLoRAConfig) -> int:
    """Return how many pairs a schedule moves at most."""
    return sum(config.budget(step) for step in config.event_steps())


def closest(config: FlexLoRAConfig, schedule: str, moves: int) -> int:
    """Return the b0 with which a schedule comes closest to a number of moves."""
    found = [(abs(moves_of(config.replace(schedule=schedule, initial_budget=b)) - moves), b) for b in range(1, 40)]
    return min(found)[1]


def stage_one(config: FlexLoRAConfig) -> dict[str, dict[str, Any]]:
    """Return row → settings that do not depend on another run."""
    return {
        "fixed ranks": {"initial_budget": 0},
        "paper": {"initial_budget": BUDGET},
        "cubic, moves of paper": {"schedule": "cubic", "initial_budget": closest(config, "cubic", moves_of(config))},
        "random moves, paper": {"initial_budget": BUDGET, "importance": "random"},
        "adaptive": {"schedule": "adaptive", "initial_budget": BUDGET},
    }


def stage_two(config: FlexLoRAConfig, adaptive: Run) -> dict[str, dict[str, Any]]:
    """Return row → settings with as many moves as an adaptive run made."""
    moved = [[event["step"], len(event["prune"])] for event in adaptive.events]
    total = sum(number for _, number in moved)
    return {
        "paper, moves of adaptive": {"initial_budget": closest(config, "paper", total)},
        "cubic, moves of adaptive": {"schedule": "cubic", "initial_budget": closest(config, "cubic", total)},
        "random moves, adaptive": {"schedule": "points", "points": moved, "importance": "random"},
    }


def train(task: tuple[Path, str, dict[str, Any], int, str | None]) -> None:
    """Make one run unless it is there already (in a worker process)."""
    folder, name, settings, seed, trec = task
    if (folder / "done").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    from flexlora.loop import run_job

    if trec:
        sys.path.insert(0, str(Path(__file__).parent))
        import trec as questions

        questions.register(Path(trec))
    run_job(build_job(name, "flexlora", seed=seed, settings=settings), folder)
    (folder / "done").touch()


def measure(folder: Path) -> list[float]:
    """Return test accuracy, test loss, moves, net share and churn of a run."""
    run = load_run(folder)
    last = [run.metrics[f"test/{name}"][1][-1] for name in ("accuracy", "loss")]
    return [*last, metrics.gross_moves(run), metrics.net_share(run), metrics.churn(run)]


def half(values: np.ndarray) -> float:
    """Return the half-width of the 95 % Student-t interval of the mean."""
    return float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)) if len(values) > 1 else float("nan")


def table(found: dict[str, np.ndarray]) -> str:
    """Return the Markdown table: every row against fixed ranks and against adaptive, paired by seed."""
    lines = [
        "| row | test accuracy | against fixed ranks | adaptive − row | test loss | moves | net moves | churn |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row, numbers in found.items():
        accuracy, loss, moves, net, churn = numbers.T
        base, ours = accuracy - found["fixed ranks"][:, 0], found["adaptive"][:, 0] - accuracy
        pairs = ["" if row == own else f"{d.mean():+.4f} ± {half(d):.4f}" for own, d in
                 (("fixed ranks", base), ("adaptive", ours))]  # fmt: skip
        lines.append(
            f"| {row} | {accuracy.mean():.4f} ± {half(accuracy):.4f} | {pairs[0]} | {pairs[1]} | {loss.mean():.3f} "
            f"| {moves.mean():.0f} | {net.mean():.3f} | {np.nanmean(churn) if moves.any() else 0:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run the study named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=("words", "digits", "trec"))
    parser.add_argument("--trec", help="folder with the TREC files")
    parser.add_argument("--seeds", type=int, default=24)
    parser.add_argument("--first-seed", type=int, default=100)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path, default=Path("study_out"))
    options = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    common = {**QUIET, "initial_rank": options.rank, "device": options.device}
    common |= dict(text.split("=", 1) for text in options.set)
    label = f"{options.task}-r{options.rank}"
    config = build_job(options.task if options.task != "trec" else "words", "flexlora", settings=common).config
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    place: Callable[[str, int], Path] = lambda row, seed: options.out / label / f"{_slug(row)}-s{seed}"  # noqa: E731
    with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
        rows = stage_one(config)
        keys = [(row, seed) for row in sorted(rows, key=lambda row: row != "adaptive") for seed in seeds]
        pool.map(train, [_task(place(r, s), options, {**common, **rows[r]}, s) for r, s in keys], chunksize=1)
        later = {seed: stage_two(config, load_run(place("adaptive", seed))) for seed in seeds}
        keys = [(row, seed) for seed in seeds for row in later[seed]]
        pool.map(train, [_task(place(r, s), options, {**common, **later[s][r]}, s) for r, s in keys], chunksize=1)
    names = [*rows, *next(iter(later.values()))]
    found = {row: np.array([measure(place(row, seed)) for seed in seeds]) for row in names}
    text = f"## {options.task}, initial rank {options.rank}, {options.seeds} seeds\n\n{table(found)}\n"
    print(text, flush=True)
    (options.out / f"{label}.md").write_text(text, encoding="utf-8")
    raw = {row: numbers.tolist() for row, numbers in found.items()}
    (options.out / f"{label}.json").write_text(json.dumps(raw), encoding="utf-8")


def _task(folder: Path, options: argparse.Namespace, settings: dict[str, Any], seed: int) -> tuple[Any, ...]:
    return folder, options.task, settings, seed, options.trec if options.task == "trec" else None


def _slug(row: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in row)


if __name__ == "__main__":
    main()
