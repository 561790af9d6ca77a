"""Kill training at random moments, resume it, and compare with the run that was never killed.

    python benchmarks/killed_runs.py [--kills 100] [--steps 60] [--jobs 2] [--seed 0] [--set device=cuda]

Each run is a process of its own that does what ``python -m flexlora.train --task digits`` does, of all methods in turn,
and gets SIGKILL at a moment drawn uniformly from the time in which it trains and ends; a third of the runs is killed
again after the resume. Then it is resumed to its end, and every record, event, λ, metric and file of the adapter is
compared. The processes are forked from one that has torch loaded, unless they use a GPU, which outlives no fork.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from flexlora.methods import METHODS
from flexlora.run_log import RunLogError, glance_run, read_run

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
from mortal import differences  # noqa: E402  (what two runs must have in common is written once)

MOVES = {
    "flexlora": ("initial_rank=3", "interval=2"),
    "adalora": ("interval=2",),
    "elalora": ("initial_rank=3", "interval=2"),
    "l1ra": ("interval=3", "pull=0.1"),
    "salora": ("interval=3", "gate_learning_rate=0.3", "initial_log_alpha=-1.0", "target_rank=1"),
    "sora": ("interval=3",),
    "dora_dynamic": ("interval=2",),
    "autolora": ("selection_learning_rate=0.1",),
}
"""Settings under which ranks move often."""


def command(method: str, out: Path, options: argparse.Namespace) -> list[str]:
    """Return the arguments of ``flexlora train`` for a method."""
    words = ["--task", "digits", "--method", method, "--out", str(out)]
    settings = ["checkpoint_interval_s=0.3", "eval_interval=15", *MOVES.get(method, ()), *options.set]
    return [*words, "--steps", str(options.steps), *(part for text in settings for part in ("--set", text))]


def train(words: list[str]) -> None:
    """Be the training process."""
    from flexlora.train import main as command_line

    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    sys.exit(command_line(words))


def start(words: list[str]) -> multiprocessing.process.BaseProcess:
    """Start a training process."""
    process = multiprocessing.get_context().Process(target=train, args=(words,))
    process.start()
    return process


def killed_at(words: list[str], out: Path, seconds: float) -> int | None:
    """Start a process and kill it so many seconds after it began to write; None when it had ended by then."""
    log = out / "crc.jsonl"
    before = log.stat().st_size if log.exists() else 0
    process = start(words)
    # A start appends to the log before it trains.
    while process.is_alive() and not (log.exists() and log.stat().st_size > before):
        time.sleep(0.005)
    process.join(seconds)
    if not process.is_alive():
        return None
    process.kill()
    process.join()
    try:
        return glance_run(out).step
    except RunLogError:
        return 0


def reference(method: str, folder: Path, options: argparse.Namespace) -> float:
    """Train a method to its end; return the seconds from its first record to its last."""
    process = start(command(method, folder / method, options))
    process.join()
    if process.exitcode:
        raise RuntimeError(f"{method} failed")
    return (folder / method / "events.jsonl").stat().st_mtime - (folder / method / "run.json").stat().st_mtime


def one(number: int, folder: Path, seconds: dict[str, float], options: argparse.Namespace) -> dict:
    """Kill, resume, compare once."""
    method = list(METHODS)[number % len(METHODS)]
    draw = random.Random(f"{options.seed} {number}")
    out, steps = folder / f"{number}-{method}", []
    words = command(method, out, options)
    while not steps:
        found = killed_at(words, out, draw.uniform(0, seconds[method]))
        if found is None:
            # It was done before its moment came: that moment is drawn anew.
            shutil.rmtree(out)
        else:
            steps.append(found)
    again = [*words[: words.index("--steps")], "--resume"]
    if draw.random() < 1 / 3:
        found = killed_at(again, out, draw.uniform(0, seconds[method] / 2))
        steps += [] if found is None else [found]
    if read_run(out).state != "finished":
        start(again).join()
    log = read_run(out)
    holes = options.steps - len(set(log.steps["step"].tolist()))
    holes += options.steps + 1 - len(set(log.spectra_steps.tolist()))
    return {
        "method": method,
        "steps": steps,
        "holes": holes,
        "differences": differences(read_run(folder / method), log),
    }


def main() -> int:
    """Run the command; return 1 when any run came back another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    os.environ.update(OMP_NUM_THREADS="1", PYTHONPATH=str(ROOT))
    multiprocessing.set_start_method("spawn" if any("cuda" in text for text in options.set) else "forkserver")
    multiprocessing.set_forkserver_preload(["flexlora.loop", "flexlora.job", "transformers.models.bert.modeling_bert"])
    with tempfile.TemporaryDirectory() as place, ThreadPoolExecutor(options.jobs) as pool:
        folder = Path(place)
        seconds = dict(zip(METHODS, pool.map(lambda method: reference(method, folder, options), METHODS), strict=True))
        found = list(pool.map(lambda number: one(number, folder, seconds, options), range(options.kills)))
    print(f"{'method':14}{'runs':>6}{'kills':>7}{'equal':>7}{'holes':>7}   steps at which they died")
    for method in [*METHODS, "all"]:
        rows = [row for row in found if method in (row["method"], "all")]
        died = sorted(step for row in rows for step in row["steps"])
        equal = sum(not row["differences"] for row in rows)
        told = " ".join(map(str, died)) if method != "all" else f"{died[0]} to {died[-1]}"
        print(f"{method:14}{len(rows):6}{len(died):7}{equal:7}{sum(row['holes'] for row in rows):7}   {told}")
    for row in found:
        if row["differences"]:
            print(row)
    return int(any(row["differences"] for row in found))


if __name__ == "__main__":
    sys.exit(main())
