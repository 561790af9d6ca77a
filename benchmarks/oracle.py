"""How well does each measure know what a direction is worth? Brute force on a real task.

    python benchmarks/oracle.py RUN --seeds 8 --out oracle_out

Trains the job of a run (its header) up to a share of its steps, once a seed; there one direction is taken from and
given to every matrix, one at a time, and the loss that this changes is measured on held-out examples. Each measure's
Spearman correlation with that, over matrices: a positive one for *taken* means that what scores low can be spared, for
*given* that what scores high has most use for more. The table has the mean over seeds and its 95 % interval.
``--policy FILE.py`` adds a measure of your own, if it returns scores.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from scipy import stats

from analysis.statistics import interval
from flexlora.job import Job
from flexlora.methods.flexlora import FlexLoRADynamics
from flexlora.observation import observe
from flexlora.policies import POLICIES, decided, load_policy
from flexlora.run_log import read_run
from flexlora.session import Session
from flexlora.worth import Batch, Worth, worth_of_directions

LEARN, JUDGE = 8, 8
"""Batches that a new direction is chosen on, and others on which everything is judged."""


def trained(job: Job, step: int) -> Session:
    """Return a session after so many steps, its last gradients kept."""
    session = Session(job)
    for number in range(1, step + 1):
        session.train_step(number)
        if number == step:
            break
        if session.is_event(number):
            session.event(number)
        session.finish_step()
    return session


def scores_at(session: Session, step: int) -> dict[str, dict[str, float | None]]:
    """Return measure → matrix → score: of every policy that scores matrices and sees no truth."""
    dynamics = session.dynamics
    if not isinstance(dynamics, FlexLoRADynamics):
        raise SystemExit("this needs a run of method flexlora")
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


def worth_at(session: Session, step: int, size: int) -> Worth:
    """Return what directions are worth; the examples are training rows that come after ``step``."""
    data, seed = session.data, session.job.config.seed
    rows = [data.rows(len(data.train), size, step + number, seed) for number in range(1, LEARN + 1)]
    learn: list[Batch] = [session.trained.batch(own) for own in rows]
    held_out = np.arange(min(len(data.validation), JUDGE * size))
    judge: list[Batch] = [
        {key: value.to(session.device) for key, value in data.validation.batch(part).items()}
        for part in np.array_split(held_out, max(1, len(held_out) // size))
    ]
    session.finish_step()
    session.model.eval()
    return worth_of_directions(session.adapter, session.trained.loss, learn, judge)


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


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--at", type=float, default=0.5, help="share of the run after which to look")
    parser.add_argument("--policy", action="append", default=[], metavar="FILE.py")
    parser.add_argument("--out", type=Path, default=Path("oracle_out"))
    options = parser.parse_args(arguments)
    for file in options.policy:
        load_policy(file)
    first = Job.from_dict(read_run(options.run).header["config"])
    step = max(1, round(options.at * first.steps))
    found: dict[str, dict[str, list[float]]] = {}
    raw = []
    for seed in range(options.seeds):
        job = Job(task=first.task, method=first.method, loop=first.loop, config=first.config.replace(seed=seed))
        session = trained(job, step)
        scores = scores_at(session, step)
        worth = worth_at(session, step, session.trained.samples_per_step)
        raw.append({"seed": seed, "step": step, "scores": scores, "worth": vars(worth)})
        for measure, own in scores.items():
            sides = found.setdefault(measure, {"taken": [], "given": []})
            sides["taken"].append(spearman(own, worth.taken))
            sides["given"].append(spearman(own, worth.given))
    options.out.mkdir(parents=True, exist_ok=True)
    text = f"## {options.run.name}: after {step} of {first.steps} steps, {options.seeds} seeds\n\n{table(found)}\n"
    (options.out / "oracle.md").write_text(text, encoding="utf-8")
    (options.out / "oracle.json").write_text(json.dumps(raw), encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
