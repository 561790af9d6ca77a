"""Run a study's jobs on a Ray cluster: the machines of ``RAY_ADDRESS``, or one that is started here."""

from __future__ import annotations

import json
import os
import platform
import threading
import uuid
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from flexlora.errors import FlexLoRAError
from flexlora.study.outcome import Outcome
from flexlora.study.pool import Group
from flexlora.study.progress import Progress

RETRIES = 2
"""How often Ray starts a run again whose worker died; it goes on from its checkpoint."""
POLL_S = 0.25


def require_ray() -> None:
    """Raise when Ray is not installed.

    Raises:
        FlexLoRAError: says how to install it.
    """
    if find_spec("ray") is None:
        raise FlexLoRAError("--ray needs Ray, which is not installed here. Run: pip install ray")


def run_on_ray(
    groups: Sequence[Group], root: Path, progress: Progress, stopping: threading.Event, jobs: int
) -> dict[str, Outcome]:
    """Train groups of runs as Ray tasks; see ``flexlora.study.pool.run_here``.

    Every machine must see ``root`` under the same path. ``jobs`` is the size of a cluster that is started here.

    Raises:
        FlexLoRAError: no cluster, a machine that does not see the folder, or a run that cannot be made.
    """
    require_ray()
    ray: Any = import_module("ray")

    own = not ray.is_initialized()
    address = os.environ.get("RAY_ADDRESS")
    try:
        if own:
            size: dict[str, Any] = {"address": address} if address else {"num_cpus": jobs, "include_dashboard": False}
            ray.init(log_to_driver=False, logging_level="error", **size)
        return _run(ray, groups, root.resolve(), progress, stopping)
    except (ConnectionError, ray.exceptions.RayError) as error:
        raise FlexLoRAError(f"Ray: {str(error).strip().splitlines()[0]}") from error
    finally:
        if own:
            ray.shutdown()


def _run(
    ray: Any, groups: Sequence[Group], root: Path, progress: Progress, stopping: threading.Event
) -> dict[str, Outcome]:
    token = root / f".seen-{uuid.uuid4().hex}"
    token.touch()
    try:
        waiting = {}
        for group in groups:
            device = group[0].job.loop.device
            options: dict[str, Any] = {
                "num_cpus": group[0].job.loop.threads,
                "num_gpus": int(device != "cpu"),
                "max_retries": RETRIES,
            }
            options["runtime_env"] = {"env_vars": {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}}
            task = ray.remote(**options)(train_runs)
            jobs = json.dumps([run.job.to_dict() for run in group])
            waiting[task.remote(jobs, [str(root / run.name) for run in group], str(token))] = group
        return _collect(ray, waiting, progress, stopping)
    finally:
        token.unlink(missing_ok=True)


def _collect(ray: Any, waiting: dict[Any, Group], progress: Progress, stopping: threading.Event) -> dict[str, Outcome]:
    outcomes: dict[str, Outcome] = {}
    try:
        while waiting and not stopping.is_set():
            ready, _ = ray.wait(list(waiting), timeout=POLL_S)
            for reference in ready:
                for run, told in zip(waiting.pop(reference), json.loads(ray.get(reference)), strict=True):
                    outcomes[run.name] = outcome = Outcome(**told)
                    progress.done(run.name, outcome)
                    if outcome.state == "refused":
                        raise FlexLoRAError(f"{run.variant.title}, seed {run.seed}: {outcome.message}")
            progress.show()
        return outcomes
    finally:
        for reference in waiting:
            ray.cancel(reference, force=True)


def train_runs(jobs: str, folders: list[str], token: str) -> str:
    """Train a group of runs on a machine of the cluster; texts go in and out."""
    from flexlora.job import Job
    from flexlora.study.worker import perform

    if not Path(token).exists():
        told = f"{platform.node()} does not see {Path(token).parent}. Give an --out that every machine shares."
        return json.dumps([Outcome("refused", told).to_dict() for _ in folders])
    own = [Job.from_dict(job) for job in json.loads(jobs)]
    return json.dumps([outcome.to_dict() for outcome in perform(own, [Path(folder) for folder in folders])])
