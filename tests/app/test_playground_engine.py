"""The playground's engine against the Python task: same draws, same losses, same decisions."""

from __future__ import annotations

import json
import math
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from flexlora.edits import apply_edit
from flexlora.job import build_job
from flexlora.planted import way
from flexlora.session import Session

ROOT = Path(__file__).resolve().parents[2]
ENGINE = ROOT / "app" / "playground" / "engine"
NODE = shutil.which("node")

pytestmark = pytest.mark.skipif(NODE is None, reason="node runs the playground's engine here; it is not installed")

RUNS, STEPS = 20, 200
POLICIES = (
    "random", "inverted", "oracle", "still", "adalora_rule", "elalora_rule", "smoothed_sensitivity", "l1ra_rule",
    "dora_dynamic_rule", "uniform", "true_ranks",
)  # fmt: skip
CHOICES: dict[str, tuple[Any, ...]] = {
    "importance": (
        "spectral_entropy", "nuclear_norm", "frobenius_norm", "sensitivity", "energy_gated_entropy", "effective_rank",
        "true_spectral_entropy",
    ),
    "direction": ("both", "prune_only", "extend_only"),
    "schedule": ("paper", "reference", "cubic", "linear", "cosine", "constant", "points", "adaptive"),
    "new_direction": ("zero_impact", "small_value", "all_zero", "gram_schmidt"),
    "rank_one": ("one", "zero", "undefined", "median", "first"),
    "all_zero": ("undefined", "first"),
    "prune_rule": ("magnitude", "signed", "component_norm"),
    "plan": ("disjoint", "overlapping"),
    "protection": (0, 2),
    "regularizer": ("mean_squared", "sum_squared", "mean_norm"),
    "regularization_weight": (0.1, 0.0, 0.3),
    "optimizer_at_event": ("keep", "reset"),
    "lr_at_event": ("schedule", "peak"),
    "initial_std": (None, 0.3),
    "new_direction_std": (None, 0.5),
    "epsilon": (0.0, 1e-8),
    "profile": (None, "geometric", "spike"),
    "noise": (0.05, 0.0, 0.3),
    "max_rank": (None, 5),
    "lr_decay": ("linear", "constant"),
    "lr_lambda": (1.0, 0.5),
    "max_grad_norm": (1.0, 0.2),
    "learning_rate": (0.03, 0.01),
    "alpha": (None, 3.0),
    "interval": (None, 8),
    "warmup_steps": (None, 12),
    "final_steps": (None, 30),
    "exponent": (3.0, 1.5),
    "eval_interval": (20, 33),
}  # fmt: skip
"""Setting → values that are drawn; the first is the default of preset ``paper``."""


def drawn(place: int) -> dict[str, Any]:
    """Settings number ``place``: every importance, policy, schedule and start comes up in some of them."""
    rng = random.Random(place)
    found = {key: values[0] if rng.random() < 0.6 else rng.choice(values) for key, values in CHOICES.items()}
    for key in ("importance", "schedule", "new_direction", "rank_one", "regularizer"):
        found[key] = CHOICES[key][place % len(CHOICES[key])]
    layers, width = rng.choice([(1, 7), (2, 5), (2, 6), (3, 6)])
    rank = rng.choice([1, 2, 3])
    painted = ",".join(f"{rng.randint(1, 3)}:{rng.choice([0.5, 1, 2])}" for _ in range(3 * layers))
    found |= {
        "scenario": rng.choice(["agree", "disagree", "spike", "uniform", painted]),
        "layers": layers,
        "width": width,
        "initial_rank": rank,
        "true_rank": rng.choice([1, 2]),
        "batch_size": rng.choice([5, 8, 16]),
        "seed": rng.randint(0, 2**32 - 1),
        "initial_budget": rng.choice([1, 2, 4]),
        "points": [[20, 3], [60, 1], [90, 4]] if found["schedule"] == "points" else [],
        "steps": STEPS if place % 4 == 0 else 70,
    }
    if place % 2:
        policy = POLICIES[place // 2 % len(POLICIES)]
        found |= {"policy": policy, "direction": "both"}
        if policy in ("uniform", "true_ranks"):
            del found["initial_budget"]
    return found


def python_run(settings: dict[str, Any], changes: dict[int, dict[str, Any]] | None = None) -> dict[str, Any]:
    """What the Python task goes through with these settings."""
    own = dict(settings)
    steps, seed, preset = own.pop("steps"), own.pop("seed"), own.pop("preset", None)
    points = own.pop("points", None)
    if points:
        own["points"] = tuple(map(tuple, points))
    own = {key: value for key, value in own.items() if value is not None}
    job = build_job("planted", "flexlora", preset, steps, seed, own)
    session = Session(job)
    names = list(session.adapter.matrices)
    losses, regularizers, events, evaluations = [], [], [], []
    first = session.adapter.ranks()

    def evaluate(step: int, split: str) -> None:
        found = session.trained.evaluate(getattr(session.data, split))
        evaluations.append({"step": step, "split": split, **found})

    evaluate(0, "validation")
    for step in range(1, steps + 1):
        if changes and step - 1 in changes:
            session.dynamics.config = apply_edit(session.dynamics.config, changes[step - 1])
        result = session.train_step(step)
        losses.append(result.task_loss)
        regularizers.append(result.regularizer)
        if session.is_event(step):
            events.append(session.event(step))
        session.finish_step()
        if step < steps and step % job.loop.eval_interval == 0:
            evaluate(step, "validation")
    for split in ("validation", "test"):
        evaluate(steps, split)
    truth = session.data.info["true_ranks"]
    return {
        "job": job,
        "losses": losses,
        "regularizers": regularizers,
        "evaluations": evaluations,
        "events": [event_of(event, names) for event in events],
        "way": way(first, [event.record() for event in events], truth),
        "trueRanks": list(truth.values()),
    }


def event_of(event: Any, names: list[str]) -> dict[str, Any]:
    """An event with numbers for names, as the engine tells it."""
    own = event.importance[event.measure]

    def bare(move: dict[str, Any]) -> dict[str, Any]:
        return {"matrix": names.index(move["matrix"]), "slot": move["slot"], "rules": move["rules"]}

    return {
        "step": event.step,
        "budget": event.budget,
        "measure": event.measure,
        "importances": [own[name] for name in names],
        "decided": [event.decided.get(name, own[name]) for name in names],
        "prune": [bare(move) for move in event.prune],
        "extend": [bare(move) for move in event.extend],
        "refused": sorted([names.index(name), reason] for name, reason in event.refused.items()),
        "rules": sorted(event.rules),
        "adaptive": event.adaptive,
    }


def engine_runs(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the engine goes through, all runs in one process."""
    script = str(Path(__file__).with_name("playground_engine.mjs"))
    asked = json.dumps({"engine": str(ENGINE), "runs": runs})
    told = subprocess.run([str(NODE), script], input=asked, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout)


def differences(engine: dict[str, Any], python: dict[str, Any]) -> list[str]:
    """Where a run of the engine is not the Python run; empty = it is the same."""
    if "error" in engine:
        return [engine["error"]]
    found = [key for key in ("trueRanks",) if engine[key] != python[key]]
    for key in ("losses", "regularizers"):
        pairs = enumerate(zip(engine[key], python[key], strict=True), 1)
        far = [step for step, (a, b) in pairs if not math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-10)]
        found += [f"{key} from step {far[0]} on"] if far else []
    for a, b in zip(engine["events"], python["events"], strict=True):
        a = {**a, "refused": sorted(a["refused"]), "rules": sorted(a["rules"])}
        for key in ("step", "budget", "measure", "prune", "extend", "refused", "rules"):
            if a[key] != b[key]:
                found.append(f"{key} of the event at step {b['step']}: {a[key]} for {b[key]}")
        for key in ("importances", "decided"):
            if not all(same(x, y) for x, y in zip(a[key], b[key], strict=True)):
                found.append(f"{key} of the event at step {b['step']}")
    for a, b in zip(engine["evaluations"], python["evaluations"], strict=True):
        if (a["step"], a["split"]) != (b["step"], b["split"]) or a["distance"] != pytest.approx(b["distance"]):
            found.append(f"evaluation at step {b['step']}")
        if not math.isclose(a["loss"], b["loss"], rel_tol=1e-4):
            found.append(f"{b['split']} loss at step {b['step']}")
    return found


def same(a: Any, b: Any) -> bool:
    if a is None or b is None or isinstance(a, str) or isinstance(b, str):
        return a == b
    return math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-7)


@pytest.fixture(scope="module")
def pairs() -> list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]]:
    asked = [drawn(place) for place in range(RUNS)]
    engine = engine_runs([{"settings": settings} for settings in asked])
    return [(settings, own, python_run(settings)) for settings, own in zip(asked, engine, strict=True)]


@pytest.mark.parametrize("place", range(RUNS))
def test_the_engine_trains_as_python_does(pairs, place):
    settings, engine, python = pairs[place]
    assert not differences(engine, python), settings
