"""Make the bundled sample runs again, each by the command in its own header.

python benchmarks/make_samples.py [NAME ...]

Those of real models (``sst2-lora-seed0`` and the like) need data that does not come with this project, and a GPU:
``benchmarks/studies/real_*.yaml`` say how they were made.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from flexlora.methods import METHODS

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ROOT / "sample_runs"
COMMON = "--seed 0 --set save_adapter=false"
COMMANDS = {
    "words-flexlora-paper": f"--task words --method flexlora --preset paper --steps 200 {COMMON}",
    "words-flexlora-reference": f"--task words --method flexlora --preset reference --steps 200 {COMMON}",
    "words-lora": f"--task words --method lora --steps 200 {COMMON}",
    "digits-flexlora-paper": f"--task digits --method flexlora --preset paper --steps 300 {COMMON}",
    # One of every other method, for the Methods page; every second spectrum is enough to follow them.
    **{
        f"digits-{method}": f"--task digits --method {method} --steps 300 {COMMON} --set spectrum_interval=2"
        for method in METHODS
        if method != "flexlora"
    },
}
LIMIT_BYTES = 1_500_000


def make(name: str) -> None:
    """Replace one sample run by a new run of its command."""
    folder = SAMPLES / name
    words = [*shlex.split(COMMANDS[name]), "--out", f"sample_runs/{name}"]
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "flexlora.train", *words], cwd=ROOT, check=True)
    for left_over in ("checkpoint", "cache"):
        shutil.rmtree(folder / left_over, ignore_errors=True)
    (folder / "heartbeat.json").unlink(missing_ok=True)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{name}: {size:,} bytes")
    if size > LIMIT_BYTES:
        raise SystemExit(f"{name} is larger than {LIMIT_BYTES:,} bytes: raise spectrum_interval")


if __name__ == "__main__":
    unknown = [name for name in sys.argv[1:] if name not in COMMANDS]
    if unknown:
        raise SystemExit(
            f"{', '.join(unknown)}: not made here. Known are {', '.join(COMMANDS)}; runs of real models are made by "
            "benchmarks/studies/real_*.yaml, which need their data."
        )
    for chosen in sys.argv[1:] or COMMANDS:
        make(chosen)
