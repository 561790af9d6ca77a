"""Measure the choices on which the paper is silent: many small real runs, a table with intervals.

    python benchmarks/study.py rank_one --seeds 10 --jobs 2 --out study_out

Each run is one ``python -m flexlora.train`` with one thread; ``--jobs`` of them run side by side. Runs that exist
already in ``--out`` are not repeated, so a study can be stopped and continued. The table goes to standard output and
to ``<out>/<study>.md``. Intervals are 95 % Student-t over seeds; differences are paired by seed against the first row.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import stats

from analysis import metrics
from analysis.runs import load_run
from flexlora.methods import METHODS


class Variant(NamedTuple):
    """One row of a table: a label and the command-line words that make it."""

    label: str
    words: tuple[str, ...]


def _set(**settings: object) -> tuple[str, ...]:
    return tuple(itertools.chain.from_iterable(("--set", f"{key}={value}") for key, value in settings.items()))


WORDS = ("--task", "words", "--steps", "200")
FLEX = (*WORDS, "--method", "flexlora", "--preset", "paper")

STUDIES: dict[str, list[Variant]] = {
    "rank_one": [
        Variant(f"r0 = {rank}, {rule}", (*FLEX, *_set(initial_budget=12, initial_rank=rank, rank_one=rule)))
        for rank in (2, 3, 8)
        for rule in ("one", "zero", "undefined", "median")
    ],
    "budget": [
        Variant(
            f"b0 = {budget}, interval {interval}",
            (*FLEX, *_set(rank_one="one", initial_budget=budget, interval=interval)),
        )
        for budget in (4, 8, 12, 16)
        for interval in (5, 10)
    ],
    "methods": [
        Variant("FlexLoRA, paper", FLEX),
        Variant("FlexLoRA, reference", (*WORDS, "--method", "flexlora", "--preset", "reference")),
        Variant("LoRA", (*WORDS, "--method", "lora")),
        Variant("head only", (*FLEX, *_set(control="head_only"))),
        Variant("random base", (*FLEX, *_set(control="random_base"))),
    ],
    "learning_rate": [
        Variant(f"{method}, lr {rate:g}", (*WORDS, "--method", method, *_set(learning_rate=rate)))
        for method in ("flexlora", "lora")
        for rate in (5e-4, 1e-3, 2e-3, 3e-3, 5e-3, 1e-2)
    ],
    "family": [Variant(METHODS[key].title, (*WORDS, "--method", key)) for key in METHODS],
    "family_digits": [Variant(METHODS[key].title, ("--task", "digits", "--method", key)) for key in METHODS],
    "family_rates": [
        Variant(f"{task}, {key}, lr {rate:g}", ("--task", task, "--method", key, *_set(learning_rate=rate)))
        for task, rates in (("words", (1e-3, 2e-3, 5e-3)), ("digits", (1e-3, 2e-3, 5e-3, 1e-2)))
        for key in METHODS
        for rate in rates
    ],
    "digits": [
        Variant("FlexLoRA, paper", ("--task", "digits", "--method", "flexlora", "--preset", "paper")),
        Variant("LoRA", ("--task", "digits", "--method", "lora")),
        Variant("head only", ("--task", "digits", "--method", "flexlora", *_set(control="head_only"))),
        Variant("random base", ("--task", "digits", "--method", "flexlora", *_set(control="random_base"))),
    ],
}


class Measured(NamedTuple):
    """What one run says."""

    accuracy: float
    validation: float
    net_share: float
    gross_moves: float
    churn: float
    gap: float
    at_rank_one: float


def train(folder: Path, words: tuple[str, ...], seed: int) -> None:
    """Make one run unless it is there already."""
    if (folder / "done").exists():
        return
    # A run that an interrupted study left behind.
    shutil.rmtree(folder, ignore_errors=True)
    command = [sys.executable, "-m", "flexlora.train", *words, "--seed", str(seed), "--out", str(folder)]
    command += ["--set", "save_adapter=false", "--set", "checkpoint_interval_s=1e9", "--set", "eval_interval=1000"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if result.returncode:
        raise SystemExit(f"{' '.join(command)}\n{result.stderr}")
    (folder / "done").touch()


def measure(folder: Path) -> Measured:
    """Read one run back."""
    run = load_run(folder)
    gap = metrics.spectrum_gap(run)
    return Measured(
        accuracy=run.metrics["test/accuracy"][1][-1],
        validation=run.metrics["validation/accuracy"][1][-1],
        net_share=metrics.net_share(run),
        gross_moves=metrics.gross_moves(run),
        churn=metrics.churn(run),
        gap=float(gap[-1]) if run.events else float("nan"),
        at_rank_one=float((run.ranks[-1] == 1).sum()),
    )


def interval(values: np.ndarray) -> float:
    """Return the half-width of the 95 % Student-t interval of the mean."""
    if len(values) < 2:
        return float("nan")
    return float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))


def table(variants: list[Variant], found: dict[str, list[Measured]]) -> str:
    """Return the Markdown table of a study."""
    lines = [
        "| variant | test accuracy | difference to the first row | validation accuracy | net moves, share of all rank "
        "| gross moves | churn | median gap I(λ)−I(σ) | matrices at rank 1 |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    first = np.array([item.accuracy for item in found[variants[0].label]])
    for variant in variants:
        rows = np.array(found[variant.label])
        accuracy = rows[:, 0]
        difference = accuracy - first
        paired = "" if variant is variants[0] else f"{difference.mean():+.4f} ± {interval(difference):.4f}"
        validation, net, gross, churned, gap, alone = rows[:, 1:].mean(axis=0)
        lines.append(
            f"| {variant.label} | {accuracy.mean():.4f} ± {interval(accuracy):.4f} | {paired} "
            f"| {validation:.4f} | {net:.3f} | {gross:.0f} | {churned:.2f} | {gap:.4f} | {alone:.1f} |".replace(
                "nan", "–"
            )
        )
    return "\n".join(lines)


def main() -> None:
    """Run the studies named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="+", choices=sorted(STUDIES))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("study_out"))
    parser.add_argument("--only", nargs="+", metavar="ROW", help="labels of rows; the default is all of them")
    options = parser.parse_args()
    for study in options.studies:
        variants = [v for v in STUDIES[study] if options.only is None or v.label in options.only]
        if not variants:
            parser.error(f"--only names no row of {study}. It has: {', '.join(v.label for v in STUDIES[study])}")
        keys = list(itertools.product(range(options.seeds), variants))

        def folder(variant: Variant, seed: int, study: str = study) -> Path:
            slug = "".join(letter if letter.isalnum() else "-" for letter in variant.label)
            return options.out / study / f"{slug}-s{seed}"

        with ThreadPoolExecutor(options.jobs) as pool:
            list(pool.map(lambda key: train(folder(key[1], key[0]), key[1].words, key[0]), keys))
        found = {v.label: [measure(folder(v, seed)) for seed in range(options.seeds)] for v in variants}
        text = f"## {study}, {options.seeds} seeds\n\n{table(variants, found)}\n"
        print(text, flush=True)
        (options.out / f"{study}.md").write_text(text, encoding="utf-8")
        raw = {label: [item._asdict() for item in items] for label, items in found.items()}
        (options.out / f"{study}.json").write_text(json.dumps(raw), encoding="utf-8")


if __name__ == "__main__":
    main()
