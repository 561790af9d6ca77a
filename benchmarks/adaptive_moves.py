"""Write the study of the adaptive schedule at equal moves, from what its runs in a finished study did.

    python benchmarks/adaptive_moves.py runs/adaptive words > moves.yaml
    python -m flexlora.study moves.yaml --out runs/adaptive_moves

Every seed of ``paper``, ``cubic`` and random moves gets as many moves as ``adaptive`` made with that seed: random
ones event by event, the others by the b0 that comes closest.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from analysis.study import load_study
from flexlora.config import FlexLoRAConfig
from flexlora.job import Job
from flexlora.run_log import RunLog, read_run
from flexlora.study import read_study


def closest(config: FlexLoRAConfig, schedule: str, moves: int) -> int:
    """Return the b0 with which a schedule comes closest to a number of moves."""

    def distance(budget: int) -> int:
        own = config.replace(schedule=schedule, initial_budget=budget)
        return abs(sum(own.budget(step) for step in own.event_steps()) - moves)

    return min(range(1, 40), key=distance)


def settings_of(log: RunLog) -> dict[str, dict[str, Any]]:
    """Return variant → settings with as many moves as an adaptive run made."""
    config = Job.from_dict(log.header["config"]).config
    if not isinstance(config, FlexLoRAConfig):
        raise SystemExit(f"{log.folder} is no run of FlexLoRA")
    moved = [[event["step"], len(event["prune"])] for event in log.events]
    total = sum(number for _, number in moved)
    return {
        "paper, moves of adaptive": {"initial_budget": closest(config, "paper", total)},
        "cubic, moves of adaptive": {"schedule": "cubic", "initial_budget": closest(config, "cubic", total)},
        "random moves, adaptive": {"schedule": "points", "points": moved, "importance": "random"},
    }


def main(folder: Path, task: str) -> None:
    """Print the study file."""
    table, study = load_study(folder), read_study(folder / "study.yaml")
    known = [row for row in table.rows if (row["task"], row["variant"]) == (task, "adaptive")]
    if not known:
        raise SystemExit(f"{folder} has no variant 'adaptive' on {task!r}")
    by_seed = {row["seed"]: settings_of(read_run(folder / "runs" / row["run"])) for row in known}
    methods: list[dict[str, Any]] = [
        {"name": entry.name, "method": entry.method, "settings": entry.settings}
        for entry in study.entries
        if entry.name == "adaptive"
    ]
    for name in next(iter(by_seed.values())):
        own = {seed: found[name] for seed, found in by_seed.items()}
        methods.append({"name": name, "method": "flexlora", "by_seed": own})
    tasks = [{"name": t.name, "task": t.task, "settings": t.settings} for t in study.tasks if t.name == task]
    told = {"name": f"{study.name}_moves", "tasks": tasks, "methods": methods, "seeds": list(by_seed)}
    told |= {"settings": study.settings, "equal": "final_rank", "reference": "adaptive"}
    yaml.safe_dump(told, sys.stdout, sort_keys=False, allow_unicode=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
