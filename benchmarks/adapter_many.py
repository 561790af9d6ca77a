"""Report and resize an adapter of many small matrices, as a user does: seconds of whole commands, three rounds each.

The adapter is made up (random F32 factors in a temporary folder): 3,072 matrices of 64 × 64, r = 8.

    python benchmarks/adapter_many.py
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

from analysis.adapters.files import CONFIG, WEIGHTS, NewTensor, write_tensors

LAYERS, KINDS, WIDTH, RANK, ROUNDS = 512, 6, 64, 8, 3
WAYS = {
    "report": [],
    "resize to half of the bytes": ["--bytes", str(LAYERS * KINDS * WIDTH * RANK * 4), "--out"],
    "resize to 90 % of the energy": ["--energy", "0.9", "--out"],
}


def make(folder: Path) -> None:
    """Write the adapter."""
    rng = np.random.default_rng(0)
    tensors = {}
    for layer in range(LAYERS):
        for kind in range(KINDS):
            for part, shape in (("A", (RANK, WIDTH)), ("B", (WIDTH, RANK))):
                name = f"base_model.model.layers.{layer}.part{kind}.lora_{part}.weight"
                tensors[name] = NewTensor("F32", shape, partial(_drawn, rng, shape))
    write_tensors(folder / WEIGHTS, tensors)
    (folder / CONFIG).write_text(json.dumps({"peft_type": "LORA", "r": RANK, "lora_alpha": 2 * RANK}))


def _drawn(rng: np.random.Generator, shape: tuple[int, int]) -> bytes:
    return rng.standard_normal(shape, dtype=np.float32).tobytes()


def main() -> None:
    """Run each way and print its seconds."""
    sys.stdout.write(f"load before: {os.getloadavg()[0]:.1f}\n")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "adapter")
        folder.mkdir()
        make(folder)
        for name, options in WAYS.items():
            seconds = []
            for number in range(ROUNDS):
                out = [str(Path(scratch, f"{name}{number}"))] if options else []
                command = [sys.executable, "-m", "analysis.adapters", str(folder), *options, *out]
                began = time.perf_counter()
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
                seconds.append(time.perf_counter() - began)
            low, middle, high = min(seconds), statistics.median(seconds), max(seconds)
            sys.stdout.write(f"{name}: {middle:.1f} s ({low:.1f} to {high:.1f})\n")


if __name__ == "__main__":
    main()
