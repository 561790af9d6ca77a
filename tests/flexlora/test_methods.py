"""What holds for every method: its start, its log, its resume, its exports, its options."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel

from analysis import metrics
from analysis.figures import FIGURES
from analysis.payload import pack_run
from analysis.runs import load_run
from flexlora.adapter_files import load_adapter
from flexlora.controls import Controls
from flexlora.errors import FlexLoRAError
from flexlora.job import Job, build_job
from flexlora.loop import run_job
from flexlora.methods import METHODS
from flexlora.session import Session
from flexlora.tasks import load_task
from flexlora.train import main

pytestmark = pytest.mark.usefixtures("few_examples")

STEPS = 16
STOPS = (5, 8, 12)
QUICK = {
    "eval_interval": 100,
    "eval_samples": 32,
    "batch_size": 8,
    "target_modules": "q_proj,mlp.fc1",
    "checkpoint_interval_s": 0,
}
WHOLE = {"target_modules": None, "batch_size": None}
"""The task's own matrices and batches: SaLoRA leaves nothing of fewer."""
MOVES = {
    "flexlora": {"interval": 2},
    "adalora": {"interval": 2},
    "elalora": {"interval": 2, **WHOLE},
    "l1ra": {"interval": 3, "pull": 0.1},
    "salora": {
        "interval": 3,
        "gate_learning_rate": 0.3,
        "initial_log_alpha": -1.0,
        "initial_rank": 8,
        "target_rank": 1,
        **WHOLE,
    },
    "sora": {"interval": 3},
    "dora_dynamic": {"interval": 2},
    "autolora": {"selection_learning_rate": 0.1},
}
"""Settings under which rank changes within ``STEPS`` steps."""


def job_of(method: str, **settings) -> Job:
    return build_job("digits", method, steps=STEPS, settings={**QUICK, **MOVES.get(method, {}), **settings})


def stop_at(step: int) -> dict[str, Any]:
    controls = Controls()
    return {
        "controls": controls,
        "progress": lambda done, _: controls.send({"command": "stop"}) if done == step else None,
    }


@pytest.fixture(scope="module")
def runs(tmp_path_factory, few_examples):
    """One finished run a method, made once."""
    root = tmp_path_factory.mktemp("methods")
    for method in METHODS:
        # The checkpoints that stops and resumes read are made by those tests.
        run_job(job_of(method, checkpoint_interval_s=1e9), root / method)
    return root


@pytest.mark.parametrize("method", METHODS)
def test_attaching_does_not_change_the_output(method):
    data = load_task("digits", 0)
    batch = data.train.batch(np.arange(16))
    before = data.model(**batch).logits
    METHODS[method].attach(data.model, METHODS[method].config(None, {"total_steps": STEPS}))
    assert torch.equal(data.model(**batch).logits, before)


@pytest.mark.parametrize("method", METHODS)
def test_every_change_of_rank_is_an_event(method, runs):
    run = load_run(runs / method)
    assert not run.notices
    assert run.steps.tolist() == list(range(STEPS + 1))
    moves = METHODS[method].direction != "neither"
    assert moves == bool(metrics.gross_moves(run)), "this test must see rank move where it can"
    names = [matrix.name for matrix in run.matrices]
    ranks, events = run.ranks[0].copy(), list(run.events)
    for record, step in enumerate(run.steps.tolist()):
        while events and events[0]["step"] < step:
            event = events.pop(0)
            for key, change in (("prune", -1), ("extend", 1)):
                for move in event[key]:
                    ranks[names.index(move["matrix"])] += change
        assert ranks.tolist() == run.ranks[record].tolist(), step
    assert metrics.final_ranks(run).tolist() == list(_saved_ranks(runs / method).values())


@pytest.mark.parametrize("method", METHODS)
def test_the_log_opens_in_every_view(method, runs):
    run = load_run(runs / method)
    assert len(pack_run(run)) > 1000
    assert METHODS[method].name in metrics.describe_run(run)
    for event in run.events:
        assert f"step {event['step']}" in metrics.describe_event(run, event["step"])
    assert FIGURES["spectra_over_time"](run, run.matrices[3].name).data
    state = run.end["state_bytes"]
    assert state["adapter"] > 0 and state["optimizer"] > 0
    assert (state["method"] > 0) == (method in ("adalora", "elalora", "salora", "dora_dynamic", "autolora"))


@pytest.mark.parametrize("method", METHODS)
def test_soft_directions_are_logged_as_soft(method, runs):
    run = load_run(runs / method)
    hard = method in ("flexlora", "lora", "autolora", "elalora", "l1ra", "big_then_cut")
    assert (run.log.gates is None) == hard
    assert (run.expected_ranks <= run.ranks + 1e-5).all()
    if method in ("adalora", "sora", "dora_dynamic"):
        assert set(np.unique(run.log.gates)) == {0.0, 1.0}
        assert (run.stored > run.ranks).any()
    elif not hard:
        assert ((run.log.gates > 0) & (run.log.gates < 1)).any()
        assert (run.expected_ranks < run.ranks).any()


@pytest.mark.parametrize("method", METHODS)
def test_resuming_gives_the_run_that_was_never_stopped(method, runs, tmp_path):
    """Stopped three times, and each time its only checkpoint is the one that stopping makes."""
    whole = load_run(runs / method)
    job = job_of(method, checkpoint_interval_s=1e9)
    for start, stop in itertools.pairwise([0, *STOPS]):
        run_job(job, tmp_path / "run", resume=start > 0, **stop_at(stop))
        part = load_run(tmp_path / "run")
        assert part.state == "stopped" and part.steps[-1] == stop
        assert np.array_equal(part.log.values, whole.log.values[: len(part.log.values)], equal_nan=True), stop
    run_job(job, tmp_path / "run", resume=True)
    again = load_run(tmp_path / "run")
    assert np.array_equal(again.log.values, whole.log.values, equal_nan=True)
    for name in ("task_loss", "regularizer", "penalty", "learning_rate", "target_rank"):
        assert np.array_equal(again.log.steps[name], whole.log.steps[name], equal_nan=True), name
    assert again.events == whole.events
    assert (again.log.gates is None) == (whole.log.gates is None)
    assert again.log.gates is None or np.array_equal(again.log.gates, whole.log.gates)


@pytest.mark.parametrize("method", METHODS)
def test_saved_and_exported_adapters_compute_what_was_trained(method, tmp_path):
    session = Session(job_of(method))
    for step in range(1, STEPS + 1):
        session.train_step(step)
        if session.is_event(step):
            session.event(step)
        session.finish_step()
    batch = session.data.test.batch(np.arange(32))
    session.model.eval()
    before = session.model(**batch).logits.detach()
    session.dynamics.finish()
    trained = session.model(**batch).logits.detach()
    # What is off is exactly zero by then, except that a log may lag: the last event is at the last step.
    assert torch.allclose(trained, before, atol=1e-5)
    session.adapter.save(tmp_path / "own")
    fresh = load_task("digits", 0).model
    load_adapter(fresh, tmp_path / "own")
    assert torch.allclose(fresh(**batch).logits, trained, atol=1e-6)
    session.adapter.export_peft(tmp_path / "peft")
    peer = PeftModel.from_pretrained(load_task("digits", 0).model, str(tmp_path / "peft")).eval()
    assert torch.allclose(peer(**batch).logits, trained, atol=1e-4)


def test_a_matrix_of_rank_zero_survives_saving_and_export(tmp_path):
    data = load_task("digits", 0)
    method = METHODS["adalora"]
    adapter = method.attach(data.model, method.config(None, {"total_steps": STEPS, "initial_rank": 2}))
    first, *others = adapter.matrices.values()
    for matrix in others:
        torch.nn.init.normal_(matrix.lam)
    for slot in list(first.slots):
        first.empty(slot)
    batch = data.test.batch(np.arange(16))
    trained = data.model(**batch).logits
    adapter.save(tmp_path / "own")
    adapter.export_peft(tmp_path / "peft")
    fresh = load_task("digits", 0).model
    assert load_adapter(fresh, tmp_path / "own").ranks()[first.name] == 0
    assert torch.allclose(fresh(**batch).logits, trained, atol=1e-6)
    peer = PeftModel.from_pretrained(load_task("digits", 0).model, str(tmp_path / "peft")).eval()
    assert torch.allclose(peer(**batch).logits, trained, atol=1e-4)
    for matrix in others:
        for slot in list(matrix.slots):
            matrix.empty(slot)
    with pytest.raises(FlexLoRAError, match="Every matrix has rank 0"):
        adapter.export_peft(tmp_path / "nothing")


@pytest.mark.parametrize("method", METHODS)
def test_options_of_other_methods_are_refused_by_name(method, capsys):
    foreign = next(key for other in METHODS.values() for key in other.options if key not in METHODS[method].options)
    with pytest.raises(FlexLoRAError, match=f"{foreign} does not belong to method {method}. Its options are: "):
        build_job("digits", method, settings={foreign: "1"})
    assert main(["--task", "digits", "--method", method, "--set", f"{foreign}=1"]) == 2
    assert f"{foreign} does not belong to method {method}" in capsys.readouterr().err


@pytest.mark.parametrize("method", METHODS)
def test_a_job_survives_json(method):
    job = job_of(method)
    assert Job.from_dict(json.loads(json.dumps(job.to_dict()))) == job
    assert job.config.replace() == job.config


@pytest.mark.parametrize("method", METHODS)
def test_the_catalogue_says_what_a_page_needs(method):
    entry = METHODS[method]
    told = (entry.title, entry.summary, entry.what_moves, entry.score, entry.when, entry.direction, entry.state)
    assert all(told) and entry.source and entry.url.startswith("https://")
    for key in entry.options:
        assert entry.config_class.__dataclass_fields__[key].metadata["help"], key


def test_the_documentation_names_every_method():
    text = (Path(__file__).resolve().parents[2] / "docs" / "methods.md").read_text(encoding="utf-8")
    assert all(f"| `{method}` |" in text for method in METHODS)


def test_name_clashes_are_cleared_up(capsys):
    assert main(["--task", "digits", "--method", "dora"]) == 2
    told = capsys.readouterr().err
    assert "dora_dynamic" in told and "weight-decomposed" in told
    assert "Safety" in METHODS["salora"].caution
    assert "use_dora" in METHODS["dora_dynamic"].caution


@pytest.mark.parametrize(
    ("method", "settings", "told"),
    [
        ("adalora", {"initial_rank": 4, "target_rank": 8}, "target_rank=8 is above initial_rank=4"),
        ("adalora", {"beta1": "1"}, "beta1=1.0 must be below 1"),
        ("dora_dynamic", {"target_rank": "0"}, "target_rank=0 must be at least 1"),
        ("salora", {"target_rank": "0"}, "target_rank=0.0 must be above 0"),
        ("salora", {"initial_rank": 2, "target_rank": 3}, "this method only takes away"),
        ("autolora", {"validation_share": "1"}, "must be below 1"),
        ("autolora", {"keep_above": "0.5"}, "would keep nothing"),
        ("dylora", {"smallest_rank": "9"}, "above initial_rank=8"),
        ("dylora", {"update": "rows"}, "Did you mean row?"),
        ("mlae", {"drop": "1"}, "drop=1.0 must be below 1"),
        ("sora", {"threshold": "-1"}, "threshold=-1.0 must be at least 0"),
        ("adalora", {"warmup_steps": "290"}, "No room for an event"),
    ],
)
def test_bad_values_say_what_is_allowed(method, settings, told):
    with pytest.raises(FlexLoRAError) as caught:
        build_job("digits", method, settings=settings)
    assert told in str(caught.value)


def test_autolora_without_held_out_examples_says_so(tmp_path, capsys):
    arguments = ["--task", "digits", "--method", "autolora", "--steps", "4", "--set", "validation_share=0"]
    assert main([*arguments, "--out", str(tmp_path / "run")]) == 2
    told = capsys.readouterr().err
    assert "held-out examples and has none" in told and "validation_share between" in told
    assert not (tmp_path / "run").exists()


def test_a_live_edit_reaches_the_method_and_others_are_refused(tmp_path):
    controls = Controls()

    def at(step: int, _result: object) -> None:
        if step == 3:
            controls.send({"command": "set", "key": "threshold", "value": 0.5})
            controls.send({"command": "set", "key": "alpha", "value": 2.0})

    run_job(job_of("sora"), tmp_path / "run", controls=controls, progress=at)
    run = load_run(tmp_path / "run")
    assert [note["kind"] for note in run.notes] == ["edited", "edit_refused"]
    assert "These can: threshold, threshold_schedule, sparsity_weight" in run.notes[1]["message"]
    assert run.ranks[-1].sum() == 0


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("method", METHODS)
def test_the_shortest_runs_work_or_say_why_not(method, steps, tmp_path):
    try:
        job = build_job("digits", method, steps=steps, settings={**QUICK, "save_adapter": False})
    except FlexLoRAError as error:
        assert (method, steps) == ("autolora", 1) and "at least 2 steps" in str(error)
        return
    summary = run_job(job, tmp_path / "run")
    run = load_run(tmp_path / "run")
    assert summary["state"] == "completed" and not run.notices
    assert metrics.final_ranks(run).sum() == summary["total_rank"]


@pytest.mark.parametrize("method", METHODS)
def test_without_the_adapters_only_the_head_learns(method, tmp_path):
    settings = {**QUICK, **MOVES.get(method, {}), "control": "head_only"}
    run_job(build_job("digits", method, steps=STEPS // 2, settings=settings), tmp_path / "run")
    run = load_run(tmp_path / "run")
    assert not run.events and (run.ranks == run.ranks[0]).all()
    first = run.log.values[: run.stored[0].sum()]
    assert np.array_equal(run.log.values, np.tile(first, len(run.steps)))


def _saved_ranks(folder) -> dict[str, int]:
    return json.loads((folder / "adapter" / "adapter.json").read_text(encoding="utf-8"))["ranks"]
