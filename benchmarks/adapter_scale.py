"""Analyse an adapter of the size of a 7B model: seconds, memory, and the ratio to a dense SVD of one matrix.

The adapter is made up (random bf16 factors in a temporary folder): 32 layers × 7 matrices, r = 64.

    python benchmarks/adapter_scale.py
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

from analysis.adapters import analyse_adapter, open_adapter
from analysis.adapters.files import CONFIG, WEIGHTS, NewTensor, write_tensors

LAYERS, RANK, HIDDEN, FFN = 32, 64, 4096, 11008
MODULES = {
    **{f"self_attn.{name}_proj": (HIDDEN, HIDDEN) for name in "qkvo"},
    **{f"mlp.{name}_proj": (HIDDEN, FFN) for name in ("gate", "up")},
    "mlp.down_proj": (FFN, HIDDEN),
}
ROUNDS = 5


def make(folder: Path) -> None:
    """Write the adapter: Gaussian factors whose directions fall off by a power law."""
    rng = np.random.default_rng(0)

    def factor(shape: tuple[int, int], axis: int) -> bytes:
        decay = np.arange(1, RANK + 1, dtype=np.float32) ** -0.5
        array = rng.standard_normal(shape, dtype=np.float32) * (decay if axis else decay[:, None])
        return (array.view(np.uint32) >> 16).astype("<u2").tobytes()

    tensors = {}
    for layer in range(LAYERS):
        for module, (width, height) in MODULES.items():
            base = f"base_model.model.model.layers.{layer}.{module}"
            for part, shape, axis in (("A", (RANK, width), 0), ("B", (height, RANK), 1)):
                tensors[f"{base}.lora_{part}.weight"] = NewTensor("BF16", shape, partial(factor, shape, axis))
    write_tensors(folder / WEIGHTS, tensors)
    (folder / CONFIG).write_text(json.dumps({"peft_type": "LORA", "r": RANK, "lora_alpha": 2 * RANK}))


def analyse(folder: Path) -> dict[str, float]:
    """Open and analyse once; meant for a process of its own."""
    seen: list[int] = []
    began = time.perf_counter()
    spectra = analyse_adapter(open_adapter(folder), lambda done, _of: seen.append(done))
    wall = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    matrices = len(spectra.adapter.matrices)
    return {"wall_s": wall, "peak_bytes": peak, "matrices": matrices, "reports": len(seen)}


def dense(folder: Path) -> float:
    """Return the seconds of a dense SVD of the first ΔW, in float64 as well."""
    adapter = open_adapter(folder)
    B, A = adapter.factors(adapter.matrices[0].name)
    began = time.perf_counter()
    np.linalg.svd(B @ A, compute_uv=False)
    return time.perf_counter() - began


def main() -> None:
    """Print one line a round, and the medians."""
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder))
        size = (Path(folder) / WEIGHTS).stat().st_size
        sys.stdout.write(f"{LAYERS * len(MODULES)} matrices, r = {RANK}, {size / 1e6:.0f} MB in bf16\n")
        walls, peaks = [], []
        for _ in range(ROUNDS):
            done = subprocess.run([sys.executable, __file__, folder], check=True, capture_output=True, text=True)
            found = json.loads(done.stdout)
            walls.append(found["wall_s"])
            peaks.append(found["peak_bytes"])
            sys.stdout.write(f"  {found['wall_s']:.2f} s, peak {found['peak_bytes'] / 1e6:.0f} MB, ")
            sys.stdout.write(f"{found['reports']} progress reports\n")
        one = dense(Path(folder))
        each = statistics.median(walls) / (LAYERS * len(MODULES))
    sys.stdout.write(
        f"median {statistics.median(walls):.2f} s, peak {max(peaks) / 1e6:.0f} MB; "
        f"a dense SVD of one {HIDDEN} × {HIDDEN} matrix {one:.1f} s = {one / each:.0f} × one matrix here\n"
    )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.stdout.write(json.dumps(analyse(Path(sys.argv[1]))))
    else:
        main()
