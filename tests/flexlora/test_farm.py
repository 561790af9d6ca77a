"""The seed farm: a farmed run takes the decisions of the ordinary loop with the same draws, and is a log like any."""

from __future__ import annotations

import json
import math
import random
import time
from dataclasses import fields

import numpy as np
import pytest
import torch

from analysis.runs import load_run
from flexlora.config import FlexLoRAConfig
from flexlora.controls import Controls
from flexlora.farm import CannotShare, Farm, run_farm
from flexlora.job import build_job
from flexlora.loop import run_job
from flexlora.methods import METHODS
from flexlora.run_log import read_run
from flexlora.session import Session
from flexlora.study.herds import herds
from flexlora.study.plan import plan_study
from flexlora.study.spec import parse_study
from flexlora.study.worker import perform

TOY = {"width": 8, "layers": 2, "true_rank": 2, "batch_size": 16, "eval_samples": 64, "eval_interval": 1000}
QUIET = {"save_adapter": False, "checkpoint_interval_s": 1e9}
FARMED = sorted(name for name, method in METHODS.items() if method.farms)
DRAWN = ("importance", "direction", "new_direction", "regularizer", "optimizer_at_event", "prune_rule")
NUMBERS = {
    "initial_rank": [1, 2, 3],
    "interval": [2, 3, 5],
    "initial_budget": [1, 4],
    "regularization_weight": [0.0, 0.1],
    "max_rank": [4, 8],
    "policy": [None, None, "random", "inverted", "still", "oracle", "adalora_rule", "dora_dynamic_rule"],
}


def drawn(rng):
    """Return settings of FlexLoRA: any of its choices, and a few numbers."""
    options = {item.name: item.metadata.get("choices") for item in fields(FlexLoRAConfig)}
    found = {key: rng.choice(sorted(options[key])) for key in DRAWN}
    found |= {key: value for key, values in NUMBERS.items() if (value := rng.choice(values)) is not None}
    # A policy says what is moved: neither a measure nor a direction beside it.
    return {
        key: value for key, value in found.items() if "policy" not in found or key not in ("importance", "direction")
    }


def toy(method="flexlora", seed=0, steps=20, **settings):
    known = METHODS[method].options
    return build_job("planted", method, None, steps, seed, {**TOY, **QUIET, **pick(settings, known)})


def pick(settings, known):
    loop = {"learning_rate", "lr_lambda", "checkpoint_interval_s", "spectrum_interval"}
    return {key: value for key, value in settings.items() if key in known or key in loop}


def alone_and_together(tmp_path, jobs):
    for place, job in enumerate(jobs):
        run_job(job, tmp_path / f"alone{place}")
    ended = run_farm(jobs, [tmp_path / f"farm{place}" for place in range(len(jobs))])
    assert all(summary["state"] == "completed" for summary in ended)
    return [(read_run(tmp_path / f"alone{place}"), read_run(tmp_path / f"farm{place}")) for place in range(len(jobs))]


def decisions(log):
    """What moved when and why; which slot of the storage was free depends on how far the others' storage grew."""
    moved = [
        (event["step"], [m["matrix"] for m in event["prune"]], [m["matrix"] for m in event["extend"]])
        for event in log.events
    ]
    return moved, log.ranks.tolist()


def check_same(alone, farmed, tolerance=1e-5):
    assert decisions(farmed) == decisions(alone)
    for key in ("task_loss", "regularizer", "learning_rate"):
        np.testing.assert_allclose(farmed.steps[key], alone.steps[key], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("draw", range(6))
def test_a_farmed_run_takes_the_decisions_of_the_ordinary_loop(draw, tmp_path):
    rng = random.Random(time.time_ns() + draw)
    settings = drawn(rng)
    jobs = [toy(seed=rng.randrange(1000), learning_rate=rng.choice([1e-3, 1e-2, 5e-2]), **settings) for _ in range(3)]
    for alone, farmed in alone_and_together(tmp_path, jobs):
        check_same(alone, farmed)


@pytest.mark.parametrize("method", FARMED)
def test_every_method_that_says_so_can_be_farmed(method, tmp_path):
    jobs = [toy(method, seed, initial_rank=3, target_rank=2, pull=0.1) for seed in (1, 5)]
    pairs = alone_and_together(tmp_path, jobs)
    for alone, farmed in pairs:
        check_same(alone, farmed)
    moves = sum(len(event["prune"]) for alone, _ in pairs for event in alone.events)
    assert moves or method == "lora"


@pytest.mark.parametrize("method", sorted(set(METHODS) - set(FARMED)))
def test_a_method_with_gates_or_a_loss_of_its_own_is_refused(method):
    with pytest.raises(CannotShare, match=method):
        Farm([Session(toy(method, seed)) for seed in (0, 1)])


@pytest.mark.parametrize(("task", "steps"), [("digits", 8), ("words", 4)])
def test_transformers_share_steps_too(task, steps, tmp_path):
    settings = {**QUIET, "interval": 2, "eval_samples": 16, "warmup_steps": 0, "evaluate_test": False}
    jobs = [build_job(task, "flexlora", None, steps, seed, {**settings, "batch_size": 4}) for seed in (0, 1)]
    sessions = [Session(job) for job in jobs]
    farm = Farm(sessions)
    alone = [Session(job) for job in jobs]
    farm.check()
    for step in range(1, steps + 1):
        for session, other, found in zip(sessions, alone, farm.train_step(step), strict=True):
            own = other.train_step(step)
            assert found.task_loss == pytest.approx(own.task_loss, abs=2e-5)
            if session.is_event(step):
                first, second = session.event(step).record(), other.event(step).record()
                for half in ("prune", "extend"):
                    assert [m["matrix"] for m in first[half]] == [m["matrix"] for m in second[half]]
            other.finish_step()
    # One frozen base for all.
    shared = [dict(session.model.named_parameters()) for session in sessions]
    frozen = [name for name, parameter in shared[0].items() if not parameter.requires_grad]
    assert frozen and all(shared[0][name].data_ptr() == shared[1][name].data_ptr() for name in frozen)


def test_a_farmed_run_is_a_log_like_any_other_and_says_with_how_many_it_shared(tmp_path):
    run_farm([toy(seed=seed) for seed in (0, 1)], [tmp_path / "a", tmp_path / "b"])
    run = load_run(tmp_path / "a")
    assert run.header["farm"] == {"lanes": 2} and run.header["seed"] == 0
    assert run.metrics["test/loss"][1][-1] > 0 and not run.notices
    assert run.steps[-1] == 20


def test_a_run_that_diverges_ends_alone(tmp_path):
    jobs = [toy(seed=0), toy(seed=1, learning_rate=1e200), toy(seed=2)]
    folders = [tmp_path / name for name in "abc"]
    ended = run_farm(jobs, folders)
    assert [isinstance(found, dict) for found in ended] == [True, False, True]
    assert read_run(folders[1]).end["reason"] == "failed"
    run_job(jobs[2], tmp_path / "alone")
    check_same(read_run(tmp_path / "alone"), read_run(folders[2]))
    assert [outcome.state for outcome in perform(jobs, folders)] == ["completed", "diverged", "completed"]


def test_a_farm_that_is_stopped_goes_on_together_or_alone(tmp_path):
    stop = random.Random(time.time_ns()).randrange(1, 19)
    jobs = [toy(seed=seed, interval=3) for seed in (3, 4)]
    controls = Controls()
    folders = [tmp_path / "a", tmp_path / "b"]

    def progress(place, step):
        if (place, step) == (1, stop):
            controls.send({"command": "stop"})

    ended = run_farm(jobs, folders, controls=controls, progress=progress)
    assert [summary["steps"] for summary in ended] == [stop, stop]
    run_job(jobs[1], folders[1], resume=True)
    assert run_farm(jobs[:1], folders[:1], resume=[True])[0]["state"] == "completed"
    for job, folder in zip(jobs, folders, strict=True):
        run_job(job, tmp_path / f"whole{job.config.seed}")
        check_same(read_run(tmp_path / f"whole{job.config.seed}"), read_run(folder))


def test_runs_that_cannot_share_are_made_one_after_the_other(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(
        "flexlora.farm.run_farm", lambda *given, **more: made.append(1) or (_ for _ in ()).throw(CannotShare("no"))
    )
    jobs = [toy(seed=seed, steps=4) for seed in (0, 1)]
    assert [outcome.state for outcome in perform(jobs, [tmp_path / "a", tmp_path / "b"])] == ["completed"] * 2
    assert made and "farm" not in json.loads((tmp_path / "a" / "run.json").read_text())


def test_where_the_memory_does_not_hold_all_halves_are_tried(tmp_path, monkeypatch):
    whole, sizes = run_farm, []

    def small(jobs, *given, **more):
        sizes.append(len(jobs))
        if len(jobs) > 2:
            raise torch.OutOfMemoryError("no")
        return whole(jobs, *given, **more)

    monkeypatch.setattr("flexlora.farm.run_farm", small)
    jobs = [toy(seed=seed, steps=4) for seed in range(4)]
    assert {outcome.state for outcome in perform(jobs, [tmp_path / str(seed) for seed in range(4)])} == {"completed"}
    assert sizes == [4, 2, 2]


def test_a_model_that_gives_another_loss_in_company_is_not_farmed():
    sessions = [Session(toy(seed=seed)) for seed in (0, 1)]
    model = sessions[0].model
    plain = model.forward

    def forward(inputs, labels=None):
        found = plain(inputs, labels)
        return found._replace(loss=found.loss * (2.0 if torch._C._functorch.maybe_current_level() else 1.0))

    model.forward = forward
    with pytest.raises(CannotShare, match="alone"):
        Farm(sessions).check()


def planned(task, seeds, **more):
    told = {"tasks": [task], "methods": ["lora", "flexlora", "sora"], "seeds": seeds, "equal": "none", **more}
    return plan_study(parse_study(told, "study.yaml")).runs()


def test_runs_are_grouped_where_sharing_pays():
    runs = planned("planted", 40)
    groups = herds(runs, 2, None)
    assert sorted(run.name for group in groups for run in group) == sorted(run.name for run in runs)
    assert all(len({run.job.method for run in group}) == 1 for group in groups)
    assert {len(group) for group in groups if group[0].job.method == "sora"} == {1}
    assert max(map(len, groups)) <= 16 and math.ceil(40 / 16) == sum(g[0].job.method == "lora" for g in groups)
    # A few seeds: every worker has some.
    assert len([g for g in herds(planned("planted", 4), 2, None) if g[0].job.method == "lora"]) == 2
    assert {len(group) for group in herds(runs, 2, 1)} == {1}
    assert {len(group) for group in herds(planned("digits", 4), 2, None)} == {1}
    on_gpu = herds(planned("digits", 4, settings={"device": "cuda"}), 1, None)
    assert [len(group) for group in on_gpu if group[0].job.method == "lora"] == [4]
