"""Print the table of docs/real-models.md from the sample runs: test metric, learning rate, parameters, memory.

    python benchmarks/real_table.py

± is the 95 % Student-t half-width over the seeds that are kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from analysis.metrics import final_parameters
from analysis.runs import load_run

SAMPLES = Path("sample_runs")
METHODS = ("flexlora", "lora", "adalora")
SEEDS = (0, 1, 2)
DATA = {
    "sst2": ("SST-2 sentences", "accuracy", 8),
    "trec": ("TREC", "accuracy", 8),
    "stsb": ("STS-B", "spearman", 8),
    "arc": ("ARC-Easy", "accuracy", 8),
    "mnist": ("digits 5 to 9", "accuracy", 4),
}
"""Key in the names of runs → title, metric, rank a matrix in the end."""


def row(key: str, method: str) -> dict[str, Any] | None:
    """Return what the kept runs of one data set and method say; None when none is kept.

    Returns:
        ``rate``; ``values``, test metric of each seed; ``mean``; ``half``, 95 % Student-t half-width, None of one seed;
        ``parameters`` of the directions in the end, of the first seed; ``memory_bytes``, its largest allocation.
    """
    folders = [SAMPLES / f"{key}-{method}-seed{seed}" for seed in SEEDS]
    runs = [load_run(folder) for folder in folders if (folder / "run.json").exists()]
    if not runs:
        return None
    values = np.array([run.metrics[f"test/{DATA[key][1]}"][1][-1] for run in runs])
    return {
        "rate": runs[0].config["learning_rate"],
        "values": values.tolist(),
        "mean": float(values.mean()),
        "half": float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)) if len(values) > 1 else None,
        "parameters": final_parameters(runs[0]),
        "memory_bytes": (runs[0].end or {}).get("peak_memory_bytes"),
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
        lines.append(f"| {', '.join(DATA[key][:2])} | {' | '.join(map(cell, found))} | {counts} | {memory} |")
    return lines


if __name__ == "__main__":
    print("\n".join(table(DATA)))
