"""The table of all policies on task ``planted``, into docs/rankbench.md.

    python benchmarks/rankbench.py --seeds 64 --jobs 2 --out rankbench_out

Each run is a run log below ``--out``; those that are finished are not repeated, so the command can be stopped and goes
on. ``from_scratch`` and the permuted ranks start with what spectral entropy ended with at the same seed.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from analysis import metrics
from analysis.runs import load_run
from analysis.statistics import Comparison, compare_pairs, holm
from flexlora.job import build_job
from flexlora.planted import SCENARIOS, way
from flexlora.policies import BUILT_IN, POLICIES

DOC = Path(__file__).resolve().parents[1] / "docs" / "rankbench.md"
MARKS = ("<!-- table -->", "<!-- /table -->")
QUIET = {"save_adapter": False, "checkpoint_interval_s": 1e9, "eval_interval": 100_000, "log_measures": "lambda"}
LATER = ("from_scratch", "permuted_within", "permuted_across")
"""Policies that start with the final ranks of ``SOURCE``."""
SOURCE = "spectral_entropy"
UNIFORM, ORACLE = "uniform", "true_ranks"


class Measured(NamedTuple):
    """What one run says; see ``flexlora.planted.way``."""

    loss: float
    distance: float
    halfway_step: float
    towards: float
    moves: float
    final_rank: float


def train(task: tuple[Path, str, str, int, dict[str, Any]]) -> None:
    """Make one run unless it is finished already (in a worker process)."""
    folder, scenario, key, seed, settings = task
    if (folder / "done").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    from flexlora.loop import run_job

    policy = POLICIES[key]
    own = {**QUIET, "scenario": scenario, **settings}
    if policy.settings:
        own["policy"] = key
    run_job(build_job("planted", policy.method, seed=seed, settings=own), folder)
    (folder / "done").touch()


def measure(folder: Path) -> Measured:
    """Read one run back."""
    run = load_run(folder)
    truth = run.header["data"]["true_ranks"]
    found = way(dict(zip(truth, run.ranks[0].tolist(), strict=True)), run.events, truth)
    return Measured(
        run.metrics["test/loss"][1][-1],
        found.last,
        math.nan if found.halfway_step is None else found.halfway_step,
        found.towards,
        found.moves,
        float(metrics.final_ranks(run).sum()),
    )


def compared(found: dict[str, list[Measured]]) -> tuple[dict[str, Comparison], dict[str, float]]:
    """Return policy → comparison of log(loss) with one rank for all, paired by seed, and Holm's p over the table."""
    base = np.log([item.loss for item in found[UNIFORM]])
    pairs = {key: compare_pairs(np.log([i.loss for i in own]) - base) for key, own in found.items() if key != UNIFORM}
    return pairs, holm({key: pair.p for key, pair in pairs.items()})


def table(found: dict[str, list[Measured]]) -> str:
    """Return the Markdown table of one scenario, the lowest loss first."""
    pairs, adjusted = compared(found)
    uniform, oracle = (np.mean([item.loss for item in found[key]]) for key in (UNIFORM, ORACLE))
    lines = [
        "| policy | test loss | relative | against uniform (95 %) | Holm p | detectable | distance | halfway | towards "
        "| moves | final rank |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for key, own in sorted(found.items(), key=lambda item: np.mean([run.loss for run in item[1]])):
        columns = np.array(own, float)
        loss = columns[:, 0].mean()
        relative = (loss - oracle) / (uniform - oracle) if uniform != oracle else math.nan
        told = ["", "", ""]
        if key in pairs:
            pair = pairs[key]
            told = [
                f"{_percent(pair.mean)} ({_percent(pair.low)} to {_percent(pair.high)})",
                f"{adjusted[key]:.3f}",
                f"{100 * pair.detectable:.1f} %",
            ]
        reached = columns[:, 2][~np.isnan(columns[:, 2])]
        halfway = f"{np.median(reached):.0f} in {len(reached)} of {len(own)}" if len(reached) else "never"
        towards = columns[:, 3][~np.isnan(columns[:, 3])]
        cells = [
            f"`{key}`", f"{loss:.5f}", _plain(relative), *told, f"{columns[:, 1].mean():.3f}", halfway,
            f"{towards.mean():.2f}" if len(towards) else "–",
            f"{columns[:, 4].mean():.0f}", f"{columns[:, 5].mean():.0f}",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def write(text: str, path: Path = DOC) -> None:
    """Put the text between the marks of a document."""
    whole = path.read_text(encoding="utf-8")
    start, end = (whole.index(mark) for mark in MARKS)
    path.write_text(whole[: start + len(MARKS[0])] + f"\n{text}\n" + whole[end:], encoding="utf-8")


def _percent(share: float) -> str:
    return f"{100 * math.expm1(share):+.1f} %"


def _plain(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2f}"


def make(out: Path, scenarios: Iterable[str], keys: list[str], seeds: int, jobs: int, settings: dict[str, Any]) -> str:
    """Train what is missing; return the tables."""
    parts = []
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        for scenario in scenarios:

            def place(key: str, seed: int, scenario: str = scenario) -> Path:
                return out / scenario / f"{key}-s{seed}"

            early = [key for key in keys if key not in LATER]
            tasks = [(place(key, seed), scenario, key, seed, settings) for seed in range(seeds) for key in early]
            pool.map(train, tasks, chunksize=1)
            tasks = []
            for seed in range(seeds):
                if set(LATER) & set(keys):
                    ranks = metrics.final_ranks(load_run(place(SOURCE, seed))).tolist()
                    given = {**settings, "initial_ranks": ranks}
                    tasks += [(place(key, seed), scenario, key, seed, given) for key in LATER if key in keys]
            pool.map(train, tasks, chunksize=1)
            found = {key: [measure(place(key, seed)) for seed in range(seeds)] for key in keys}
            raw = {key: [item._asdict() for item in own] for key, own in found.items()}
            (out / f"{scenario}.json").write_text(json.dumps(raw), encoding="utf-8")
            parts.append(f"### `{scenario}`, {seeds} seeds\n\n{table(found)}")
    return "\n\n".join(parts)


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=64)
    parser.add_argument("--scenarios", nargs="+", default=list(SCENARIOS), choices=list(SCENARIOS))
    parser.add_argument("--policies", nargs="+", default=sorted(BUILT_IN), choices=sorted(BUILT_IN))
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="an option of every run")
    parser.add_argument("--out", type=Path, default=Path("rankbench_out"))
    parser.add_argument("--doc", type=Path, default=DOC, help="document with the marks that the tables go between")
    options = parser.parse_args(arguments)
    os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    needed = {UNIFORM, ORACLE, *([SOURCE] if set(LATER) & set(options.policies) else [])}
    keys = sorted({*options.policies, *needed})
    settings = dict(text.split("=", 1) for text in options.set)
    text = make(options.out, options.scenarios, keys, options.seeds, options.jobs, settings)
    write(text, options.doc)
    print(text)


if __name__ == "__main__":
    main()
