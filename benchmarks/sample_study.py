"""Make the study that comes with the Lab: benchmarks/studies/four_ways.yaml, in as few bytes as hold it.

python benchmarks/sample_study.py [--jobs 2]

Its trials are left out: what each of them reached stands in choices.json.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from compact_log import compact

ROOT = Path(__file__).resolve().parents[1]
NAME = "four_ways"
FOLDER = Path("sample_runs/studies") / NAME
LIMIT_BYTES = 1_500_000


def make(jobs: int) -> None:
    """Replace the study by a new run of its file."""
    shutil.rmtree(ROOT / FOLDER, ignore_errors=True)
    (ROOT / FOLDER).parent.mkdir(exist_ok=True)
    words = [f"benchmarks/studies/{NAME}.yaml", "--out", FOLDER.as_posix(), "--jobs", str(jobs)]
    subprocess.run([sys.executable, "-m", "flexlora.study", *words], cwd=ROOT, check=True)
    slim(ROOT / FOLDER)
    subprocess.run([sys.executable, "-m", "analysis.study", FOLDER.as_posix()], cwd=ROOT, check=True)


def slim(folder: Path) -> None:
    """Leave out what nobody reads any more.

    Raises:
        SystemExit: more is left than a sample may take.
    """
    for run in sorted((folder / "runs").iterdir()):
        compact(run)
    shutil.rmtree(folder / "trials", ignore_errors=True)
    (folder / ".lock").unlink(missing_ok=True)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{folder}: {size:,} bytes")
    if size > LIMIT_BYTES:
        raise SystemExit(f"{folder} is larger than {LIMIT_BYTES:,} bytes: raise spectrum_interval, or log less")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=2)
    make(parser.parse_args().jobs)
