"""Which order of pruning keeps a finished adapter working? Compress real adapters to a share of their rank, test them.

    python benchmarks/adapter_orders.py --seeds 3 --out orders_out

Each adapter is one ``python -m flexlora.train`` on ``words``; it is exported to PEFT, compressed by each order of
``analysis.adapters`` to the same total rank, loaded by PEFT into the base model and evaluated on all test words. Runs
that exist in ``--out`` are not repeated. Differences are paired by seed against the whole adapter; ± is a 95 %
Student-t interval.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from peft import PeftModel
from scipy import stats

from analysis.adapters import ORDERS, analyse_adapter, compress_adapter, open_adapter, suggest_ranks
from flexlora.adapter_files import load_adapter
from flexlora.tasks import load_task
from flexlora.tasks.data import evaluate_classifier

TASK, STEPS = "words", "200"
SHARES = (0.5, 0.25, 1 / 6)


def accuracy(folder: Path, seed: int) -> float:
    """Return the test accuracy of a PEFT adapter in a fresh base model."""
    data = load_task(TASK, seed)
    model = PeftModel.from_pretrained(data.model, str(folder))
    return evaluate_classifier(model, data.test)["accuracy"]


def trained(out: Path, method: str, seed: int) -> Path:
    """Return the PEFT folder of a run, training it first if need be."""
    run, folder = out / f"{method}-s{seed}", out / f"{method}-s{seed}-peft"
    if not folder.exists():
        words = ["--task", TASK, "--method", method, "--steps", STEPS, "--seed", str(seed), "--out", str(run)]
        subprocess.run([sys.executable, "-m", "flexlora.train", *words], check=True, stderr=subprocess.DEVNULL)
        load_adapter(load_task(TASK, seed).model, run / "adapter").export_peft(folder)
    return folder


def measure(folder: Path, seed: int) -> dict[tuple[str, float], tuple[float, float]]:
    """Return (order, share of the rank) → (test accuracy, energy kept); the whole adapter is ("whole", 1)."""
    spectra = analyse_adapter(open_adapter(folder))
    total = sum(matrix.rank for matrix in spectra.adapter.matrices)
    found = {("whole", 1.0): (accuracy(folder, seed), 1.0)}
    for share in SHARES:
        for by in ORDERS:
            suggestion = suggest_ranks(spectra, "rank", round(share * total), by)
            with tempfile.TemporaryDirectory() as made:
                compress_adapter(spectra, suggestion.ranks, Path(made) / "small")
                found[by, share] = accuracy(Path(made) / "small", seed), suggestion.energy_kept
    return found


def interval(values: np.ndarray) -> str:
    """Return mean ± half of the 95 % interval."""
    half = stats.sem(values) * stats.t.ppf(0.975, len(values) - 1) if len(values) > 1 else float("nan")
    return f"{values.mean():+.3f} ± {half:.3f}"


def main() -> None:
    """Print a Markdown table for each method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--methods", nargs="+", default=["lora"])
    options = parser.parse_args()
    for method in options.methods:
        runs = [measure(trained(options.out, method, seed), seed) for seed in range(options.seeds)]
        whole = np.array([run["whole", 1.0][0] for run in runs])
        sys.stdout.write(f"\n{method}, {len(runs)} seeds, whole adapter {whole.mean():.3f}\n\n")
        head = " | ".join(f"{share:.0%} of the rank: accuracy, energy" for share in SHARES)
        sys.stdout.write(f"| order | {head} |\n|{'---|' * (len(SHARES) + 1)}\n")
        for by in ORDERS:
            cells = []
            for share in SHARES:
                change = np.array([run[by, share][0] for run in runs]) - whole
                kept = np.mean([run[by, share][1] for run in runs])
                cells.append(f"{interval(change)}, {kept:.1%}")
            sys.stdout.write(f"| {by} | {' | '.join(cells)} |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
