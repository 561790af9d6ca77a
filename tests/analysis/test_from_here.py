"""Read-outs of a run that trains: what was is counted in its log, what comes by the schedule from there on."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from analysis.from_here import Here, coming, describe_coming, here
from analysis.runs import load_run
from flexlora.config import FlexLoRAConfig
from flexlora.controls import Controls
from flexlora.errors import FlexLoRAError
from flexlora.job import build_job
from flexlora.loop import run_job
from flexlora.reallocation import DIRECTIONS
from flexlora.schedules import SCHEDULES

ROOT = Path(__file__).resolve().parents[2]
CURVE = ROOT / "app" / "schedule" / "curve.js"
NODE = shutil.which("node")
CASES = 150
SCRIPT = """
import { readFileSync } from "node:fs";
const { readOuts } = await import(PATH);
const found = JSON.parse(readFileSync(0, "utf-8")).map(([values, events, here]) => {
  const told = readOuts(values, events, { matrices: 0, rank: 0, cost: null }, here);
  return [told.events, told.active, told.last, told.moved, told.ranks];
});
process.stdout.write(JSON.stringify(found));
"""


def random_case(rng: random.Random) -> tuple[FlexLoRAConfig, Here]:
    while True:
        total = rng.randint(5, 300)
        try:
            config = FlexLoRAConfig(
                total_steps=total,
                schedule=rng.choice([name for name in SCHEDULES if name != "points"]),
                initial_budget=rng.randint(0, 40),
                warmup_steps=rng.randint(0, total),
                final_steps=rng.randint(0, total),
                interval=rng.randint(1, 20),
                direction=rng.choice(DIRECTIONS),
            )
        except FlexLoRAError:
            continue
        matrices = rng.randint(1, 60)
        now, rank = rng.randint(0, total), matrices * rng.randint(1, 12)
        return config, Here(now, matrices, rank, 0, 0, (), (0,) * now)


def test_nothing_that_is_past_counts_and_the_rest_is_what_the_training_would_do():
    rng = random.Random(3)
    for _ in range(CASES):
        config, at = random_case(rng)
        found = coming(config, at)
        most = np.array(
            [config.budget(t) if config.is_event(t) else 0 for t in range(at.now + 1, config.total_steps + 1)]
        )
        assert found.most == most.sum()
        assert found.active == np.count_nonzero(most)
        assert found.last == (at.now + 1 + int(np.flatnonzero(most)[-1]) if found.active else None)
        if config.direction == "both":
            assert found.least_rank == found.most_rank == at.rank
        elif config.direction == "extend_only":
            assert (found.least_rank, found.most_rank) == (at.rank, at.rank + found.most)
        else:
            assert found.most_rank == at.rank and min(at.rank, at.matrices) <= found.least_rank <= at.rank
        assert str(found.most) in describe_coming(config, at) or not found.active


@pytest.mark.skipif(NODE is None, reason="node runs the editor's modules here; it is not installed")
def test_while_a_handle_is_dragged_the_browser_tells_the_same():
    rng = random.Random(11)
    cases = [random_case(rng) for _ in range(CASES)]
    asked = [
        [[config.budget(t) for t in range(1, config.total_steps + 1)], list(config.event_steps()), asdict(at)]
        for config, at in cases
    ]
    done = subprocess.run(
        [str(NODE), "--input-type=module", "-e", SCRIPT.replace("PATH", json.dumps(CURVE.as_uri()))],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for (config, at), (events, active, last, moved, ranks) in zip(cases, json.loads(done.stdout), strict=True):
        own = coming(config, at)
        assert (events, active, last, moved) == (own.events, own.active, own.last, own.most)
        end = {"both": own.most_rank, "prune_only": own.least_rank, "extend_only": own.most_rank}[config.direction]
        assert ranks[config.direction] == end


def test_a_run_that_was_edited_in_the_middle_tells_what_moved_and_the_curve_that_was_in_force(tmp_path):
    job = build_job("digits", steps=40, settings={"initial_budget": 6, "warmup_steps": 4, "interval": 4})
    controls = Controls()

    def edit(step: int, _result: object) -> None:
        if step == 14:
            controls.send({"command": "set", "values": {"initial_budget": 2}})
        if step == 21:
            controls.send({"command": "stop"})

    run_job(job, tmp_path / "run", controls=controls, progress=edit)
    run = load_run(tmp_path / "run")
    at = here(run)
    assert at.now == 21 == len(at.past)
    before, after = job.config, job.config.replace(initial_budget=2)
    assert list(at.past) == [before.budget(t) for t in range(1, 15)] + [after.budget(t) for t in range(15, 22)]
    assert [step for step, _, _ in at.events] == [8, 12, 16, 20]
    assert at.pruned == at.extended == sum(at.past[step - 1] for step in (8, 12, 16, 20))
    assert at.rank == job.config.initial_rank * at.matrices
    assert coming(after, at).most == sum(after.budget(step) for step in (24,))
    assert describe_coming(after, at).startswith(f"Until step 21: {at.pruned} pruned, {at.extended} extended")
