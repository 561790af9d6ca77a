"""Write and load a GENERATED log of 560 matrices × 2,000 records × up to 64 values; no training is behind it.

    python benchmarks/run_log_scale.py [--matrices 560] [--records 2000]

The peer is pyarrow reading the same file in the same run without checksums, resume rules or offsets.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from analysis.runs import load_run
from flexlora.run_log import RunWriter, read_run


def write(folder: Path, matrices: int, records: int) -> float:
    """Write the log; return the milliseconds a record took."""
    generator = np.random.default_rng(0)
    names = [
        {"name": f"layer.{m // 7}.type{m % 7}", "in_features": 4096, "out_features": 4096} for m in range(matrices)
    ]
    ranks = generator.integers(1, 65, matrices)
    spectra = [generator.normal(size=rank).astype(np.float32) for rank in ranks]
    began = time.perf_counter()
    with RunWriter(folder, {"matrices": names, "config": {}}) as writer:
        for step in range(records):
            writer.step(step, task_loss=1.0, budget=0)
            writer.spectrum(step, [values * np.float32(1 + step) for values in spectra])
        writer.end("completed")
    return (time.perf_counter() - began) / records * 1000


def seconds(action) -> float:
    """Return how long an action takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def main() -> None:
    """Print one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--matrices", type=int, default=560)
    parser.add_argument("--records", type=int, default=2000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "generated"
        per_record = write(folder, options.matrices, options.records)
        size = sum(path.stat().st_size for path in folder.iterdir())

        def plain() -> None:
            pa.ipc.open_stream((folder / "spectra.arrows").read_bytes()).read_all()["singular_values"].combine_chunks()

        read, arrays, peer = [], [], []
        for _ in range(5):
            read.append(seconds(lambda: read_run(folder)))
            peer.append(seconds(plain))
            arrays.append(seconds(lambda: load_run(folder)))
    ratio = statistics.median(a / b for a, b in zip(read, peer, strict=True))
    print(
        f"generated log, {options.matrices} × {options.records}: write {per_record:.2f} ms a record, "
        f"{size / 1e6:.0f} MB; "
        f"read_run {statistics.median(read):.2f} s, plain pyarrow {statistics.median(peer):.2f} s, ratio {ratio:.2f}; "
        f"load_run with entropy and energy {statistics.median(arrays):.2f} s (medians of 5)"
    )


if __name__ == "__main__":
    main()
