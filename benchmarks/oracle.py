"""How well does each measure know what a direction is worth? Brute force on a real task.

    python benchmarks/oracle.py sample_runs/words-flexlora-paper --seeds 8 --at 0.3 0.7 --out oracle_out

Trains the job of a run (its header) once a seed; at each share of its steps one direction is taken from and given to
every matrix, one at a time, and the loss that this changes is measured on held-out examples. Each measure's Spearman
correlation with that, over matrices: a positive one for *taken* means that what scores low can be spared, for *given*
that what scores high has most use for more. The table has the mean over seeds and its 95 % interval. ``--policy
FILE.py`` adds a measure of your own, if it returns scores. Seeds that are done are not repeated.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from analysis.statistics import interval
from flexlora.job import Job
from flexlora.methods.flexlora import FlexLoRADynamics
from flexlora.observation import observe
from flexlora.policies import POLICIES, decided, load_policy
from flexlora.run_log import read_run
from flexlora.session import Session
from flexlora.smoothing import SMOOTHED
from flexlora.worth import Batch, Worth, worth_of_directions


class Asked(NamedTuple):
    """What one process does: train a seed, and look at it after these steps.

    ``batches`` is how many a new direction is chosen on, and on how many others everything is judged.
    """

    job: dict[str, Any]
    seed: int
    steps: tuple[int, ...]
    batches: int
    policies: tuple[str, ...]
    path: Path


def train(job: Job, steps: Sequence[int]) -> Iterator[tuple[int, Session]]:
    """Yield a session after each of ``steps``, its last gradients kept, before the event that may be due."""
    session = Session(job)
    if not isinstance(session.dynamics, FlexLoRADynamics):
        raise SystemExit("error: this needs a run of method flexlora")
    session.dynamics.allocator.track(SMOOTHED)
    for step in range(1, max(steps) + 1):
        session.train_step(step)
        if step in steps:
            yield step, session
        if session.is_event(step):
            session.event(step)
        session.finish_step()


def scores_at(session: Session, step: int) -> dict[str, dict[str, float | None]]:
    """Return measure → matrix → score: of every policy that scores matrices and sees no truth."""
    dynamics = session.dynamics
    assert isinstance(dynamics, FlexLoRADynamics)
    ranks = session.adapter.ranks()
    limits = session.adapter.limits()
    found = {}
    for key, policy in POLICIES.items():
        if policy.kind == "decide" and "truth" not in policy.reads:
            arrays = observe(dynamics.allocator, step, policy.reads, limits)
            scores, plan = decided(policy, arrays, ranks, len(ranks), limits)
            if plan is None:
                found[key] = scores
    return found


def worth_at(session: Session, step: int, batches: int) -> Worth:
    """Return what directions are worth; the examples are training rows that come after ``step``."""
    data, seed, size = session.data, session.job.config.seed, session.trained.samples_per_step
    rows = [data.rows(len(data.train), size, step + number, seed) for number in range(1, batches + 1)]
    learn: list[Batch] = [session.trained.batch(own) for own in rows]
    count = min(len(data.validation) // size, batches) or 1
    judge: list[Batch] = [
        {key: value.to(session.device) for key, value in data.validation.batch(part).items()}
        for part in np.split(np.arange(count * min(size, len(data.validation))), count)
    ]
    session.model.eval()
    return worth_of_directions(session.adapter, session.trained.loss, learn, judge)


def look(asked: Asked) -> list[dict[str, Any]]:
    """Return scores and worth at each step, from the file where this seed is done."""
    if asked.path.exists():
        return json.loads(asked.path.read_text(encoding="utf-8"))
    for file in asked.policies:
        load_policy(file)
    first = Job.from_dict(asked.job)
    job = Job(task=first.task, method=first.method, loop=first.loop, config=first.config.replace(seed=asked.seed))
    found = []
    for step, session in train(job, asked.steps):
        scores = scores_at(session, step)
        worth = worth_at(session, step, asked.batches)
        found.append({"seed": asked.seed, "step": step, "scores": scores, "worth": vars(worth)})
    asked.path.write_text(json.dumps(found), encoding="utf-8")
    return found


def spearman(scores: Mapping[str, float | None], worth: Mapping[str, float]) -> float:
    """Return Spearman's correlation over the matrices that have both; NaN for fewer than three or without order."""
    names = [name for name, score in scores.items() if score is not None and math.isfinite(worth[name])]
    one, other = np.array([scores[n] for n in names], float), np.array([worth[n] for n in names])
    if len(names) < 3 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return math.nan
    return float(np.corrcoef(stats.rankdata(one), stats.rankdata(other))[0, 1])


def table(found: Mapping[str, Mapping[str, list[float]]]) -> str:
    """Return the Markdown table of measure → side → one correlation a seed."""
    lines = ["| measure | taken: mean (95 %) | given: mean (95 %) | seeds |", "|---|---|---|---|"]
    for measure, sides in found.items():
        cells = []
        for values in sides.values():
            known = [value for value in values if not math.isnan(value)]
            low, high = interval(known) if known else (math.nan, math.nan)
            cells.append(f"{np.mean(known):+.2f} ({low:+.2f} to {high:+.2f})" if known else "undefined")
        lines.append(f"| {measure} | {' | '.join(cells)} | {len(next(iter(sides.values())))} |")
    return "\n".join(lines)


def tables(found: Sequence[Sequence[Mapping[str, Any]]], steps: Sequence[int], total: int) -> str:
    """Return a table for each step, from what ``look`` found for each seed."""
    parts = []
    for place, step in enumerate(steps):
        by_measure: dict[str, dict[str, list[float]]] = {}
        for own in found:
            for measure, scores in own[place]["scores"].items():
                sides = by_measure.setdefault(measure, {"taken": [], "given": []})
                for side, values in sides.items():
                    values.append(spearman(scores, own[place]["worth"][side]))
        parts.append(f"After {step} of {total} steps, {len(found)} seeds:\n\n{table(by_measure)}\n")
    return "\n".join(parts)


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--at", type=float, nargs="+", default=[0.3, 0.7], help="shares of the run after which to look")
    parser.add_argument("--batches", type=int, default=8, help="to choose a new direction on, and as many to judge")
    parser.add_argument("--jobs", type=int, default=1, help="seeds side by side")
    parser.add_argument("--policy", action="append", default=[], metavar="FILE.py")
    parser.add_argument("--out", type=Path, default=Path("oracle_out"))
    options = parser.parse_args(arguments)
    os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    first = Job.from_dict(read_run(options.run).header["config"])
    steps = tuple(sorted({max(1, round(share * first.steps)) for share in options.at}))
    options.out.mkdir(parents=True, exist_ok=True)
    every = [
        Asked(first.to_dict(), seed, steps, options.batches, tuple(options.policy), options.out / f"seed-{seed}.json")
        for seed in range(options.seeds)
    ]
    if options.jobs == 1:
        found = [look(asked) for asked in every]
    else:
        with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
            found = pool.map(look, every, chunksize=1)
    text = tables(found, steps, first.steps)
    (options.out / "oracle.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
