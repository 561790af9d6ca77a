"""Time and memory of every method against LoRA, in one run: what the Methods page shows.

    python benchmarks/method_costs.py [--task words] [--device cpu] [--rounds 5] [--out FILE]

A round trains each method for some steps on the same model and batches, one after another, with an event every five
steps where a method has events; the ratio of a round is against LoRA in the same round, and the median over rounds is
reported with the lowest and highest. Nothing is logged meanwhile. On a GPU the peak of allocated memory is measured
too; the bytes of state of each method stand in the ``end`` record of every run.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import statistics
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from flexlora.job import build_job
from flexlora.methods import METHODS
from flexlora.session import Session

WARM_UP = 5
INTERVAL = 5
ROOT = Path(__file__).resolve().parents[1]


def measure(task: str, method: str, device: str, steps: int) -> dict[str, Any]:
    """Train one method for a while; return seconds a step and the peak of memory."""
    cuda = device.startswith("cuda")
    settings = {"device": device, **({"interval": INTERVAL} if "interval" in METHODS[method].options else {})}
    # What the last method left in reference cycles would count as this one's memory.
    gc.collect()
    session = Session(build_job(task, method, steps=steps, settings=settings))
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    began = 0.0
    for step in range(1, steps + 1):
        if step == WARM_UP + 1:
            began = _now(cuda)
        session.train_step(step)
        if session.is_event(step):
            session.event(step)
        session.finish_step()
    return {
        "step_s": (_now(cuda) - began) / (steps - WARM_UP),
        "peak": torch.cuda.max_memory_allocated() if cuda else None,
    }


def summary(found: list[dict[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return one row a method from the rounds, each method → what was measured."""
    rows = []
    for method in found[0]:
        own = [a_round[method] for a_round in found]
        ratios = [a_round[method]["step_s"] / a_round["lora"]["step_s"] for a_round in found]
        peak, first = own[-1]["peak"], found[-1]["lora"]["peak"]
        rows.append(
            {
                "method": method,
                "step_ms": 1000.0 * statistics.median(item["step_s"] for item in own),
                "step_ratio": statistics.median(ratios),
                "step_ratio_low": min(ratios),
                "step_ratio_high": max(ratios),
                "peak_memory_bytes": peak,
                "peak_memory_ratio": None if peak is None else peak / first,
            }
        )
    return rows


def main() -> None:
    """Measure, print a table, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="words")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--out", type=Path, help="default: sample_runs/method_costs_cpu.json, or _gpu.json")
    options = parser.parse_args()
    kind = "gpu" if options.device.startswith("cuda") else "cpu"
    out = options.out or ROOT / "sample_runs" / f"method_costs_{kind}.json"
    found = []
    for number in range(1, options.rounds + 1):
        found.append({key: measure(options.task, key, options.device, options.steps) for key in METHODS})
        print(f"round {number} of {options.rounds}", file=sys.stderr, flush=True)
    rows = summary(found)
    cuda = options.device.startswith("cuda")
    document = {
        "created_unix_s": time.time(),
        "command": f"python benchmarks/method_costs.py --task {options.task} --device {options.device} "
        f"--rounds {options.rounds} --steps {options.steps}",
        "machine": torch.cuda.get_device_name() if cuda else f"CPU ({platform.machine()}), one thread",
        "versions": {"python": platform.python_version(), **{key: version(key) for key in ("torch", "transformers")}},
        "task": options.task,
        "rows": rows,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    for row in rows:
        peak = "" if row["peak_memory_ratio"] is None else f", peak memory {row['peak_memory_ratio']:.3f} ×"
        print(
            f"{row['method']:13} {row['step_ms']:8.2f} ms a step, {row['step_ratio']:.2f} × LoRA "
            f"({row['step_ratio_low']:.2f} to {row['step_ratio_high']:.2f}){peak}"
        )


def _now(cuda: bool) -> float:
    if cuda:
        torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    main()
