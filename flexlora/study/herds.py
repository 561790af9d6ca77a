"""Which runs of a study share their steps, see ``flexlora.farm``. Torch-free."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence

from flexlora.methods import METHODS
from flexlora.study.plan import Planned

FREE = ("seed", "learning_rate", "policy", "importance", "initial_ranks")
"""Options in which runs that share their steps may differ: none decides a shape."""
TOYS = ("planted",)
"""Tasks so small that sharing pays on a CPU, too; ``benchmarks/seed_farm.py`` measures it."""
LANES = {"cpu": 16, "cuda": 64}
"""Runs that share their steps, at most."""


def herds(runs: Sequence[Planned], jobs: int, lanes: int | None) -> list[list[Planned]]:
    """Return the runs in groups, each for one worker, in the order of their first runs.

    Args:
        runs: to be made.
        jobs: workers; no group is so large that one of them would be left without.
        lanes: runs in a group at most; 1 = each alone, None = what suits the device.
    """
    groups: dict[str, list[Planned]] = {}
    for place, run in enumerate(runs):
        content = {key: value for key, value in run.job.to_dict().items() if key not in FREE}
        alone = not METHODS[run.job.method].farms or _most(run, lanes) == 1
        groups.setdefault(str(place) if alone else json.dumps(content, sort_keys=True), []).append(run)
    found = []
    for own in groups.values():
        most = _most(own[0], lanes)
        if lanes is None:
            most = min(most, math.ceil(len(own) / jobs))
        count = math.ceil(len(own) / most)
        # Of equal size, as far as they can be.
        bounds = [len(own) * part // count for part in range(count + 1)]
        found += [own[start:stop] for start, stop in itertools.pairwise(bounds)]
    order = {run.name: place for place, run in enumerate(runs)}
    return sorted(found, key=lambda group: order[group[0].name])


def _most(run: Planned, lanes: int | None) -> int:
    if lanes is not None:
        return lanes
    device = run.job.loop.device.partition(":")[0]
    return 1 if device == "cpu" and run.job.task not in TOYS else LANES.get(device, 1)
