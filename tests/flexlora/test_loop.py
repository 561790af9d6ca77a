"""The loop on the toy task: what it logs, how it obeys, how it resumes."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from flexlora.adapter_files import load_adapter
from flexlora.controls import Controls
from flexlora.errors import FlexLoRAError
from flexlora.job import Job, build_job, command_line
from flexlora.loop import run_job
from flexlora.run_log import RunLogError, read_run
from flexlora.session import TrainingFailed

SETTINGS = {"interval": 3, "warmup_steps": 2, "final_steps": 3, "schedule": "constant", "eval_interval": 10}
SMALL = {"batch_size": 8, "target_modules": "q_proj,mlp.fc1"}


def job_of(steps=20, method="flexlora", **settings):
    own = SETTINGS if method == "flexlora" else {"eval_interval": 10}
    return build_job("digits", method, steps=steps, seed=1, settings={**own, **SMALL, **settings})


def stop_at(controls, step):
    def progress(done, _result):
        if done == step:
            controls.send({"command": "stop"})

    return progress


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("loop") / "whole"
    return run_job(job_of(), folder), folder


def test_a_run_logs_every_step_spectrum_event_and_its_end(whole):
    summary, folder = whole
    log = read_run(folder)
    assert log.state == "finished"
    assert not log.notices
    assert log.steps["step"].tolist() == list(range(1, 21))
    assert log.spectra_steps.tolist() == list(range(21))
    assert [event["step"] for event in log.events] == [5, 8, 11, 14]
    assert (log.ranks.sum(axis=1) == 12 * 8).all()
    assert log.end["reason"] == "completed"
    assert summary["state"] == "completed"
    assert 0 <= summary["test_accuracy"] <= 1
    assert {(record["split"], record["step"]) for record in log.evals} == {
        ("validation", 0), ("validation", 10), ("validation", 20), ("test", 20),
    }  # fmt: skip


def test_records_of_an_event_step_show_what_the_decision_saw(whole):
    log = read_run(whole[1])
    names = [matrix["name"] for matrix in log.header["matrices"]]
    for event in log.events:
        at = log.spectra_steps.tolist().index(event["step"])
        moved = dict.fromkeys(names, 0)
        for move in event["prune"]:
            moved[move["matrix"]] -= 1
        for move in event["extend"]:
            moved[move["matrix"]] += 1
        change = log.ranks[at + 1].astype(int) - log.ranks[at].astype(int)
        assert dict(zip(names, change.tolist(), strict=True)) == moved


def test_a_stopped_run_resumed_equals_the_uninterrupted_one_bit_for_bit(whole, tmp_path):
    for first_stop in (7, 8):
        folder = tmp_path / f"stopped{first_stop}"
        controls = Controls()
        summary = run_job(job_of(), folder, controls=controls, progress=stop_at(controls, first_stop))
        assert (summary["state"], summary["steps"]) == ("stopped", first_stop)
        assert read_run(folder).state == "stopped"
        run_job(Job.from_dict(read_run(folder).header["config"]), folder, resume=True)
        same_run(read_run(whole[1]), read_run(folder))


def test_an_interrupted_log_is_rewound_to_its_checkpoint(whole, tmp_path):
    folder = tmp_path / "killed"
    with pytest.raises(RuntimeError, match="power"):
        run_job(job_of(checkpoint_interval_s=0), folder, progress=fail_at(9))
    (folder / "checkpoint" / "state.safetensors").rename(folder / "kept")
    with pytest.raises(RuntimeError, match="power"):
        run_job(job_of(checkpoint_interval_s=1e9), tmp_path / "none", progress=fail_at(9))
    (folder / "kept").rename(folder / "checkpoint" / "state.safetensors")
    for killed in (folder, tmp_path / "none"):
        run_job(job_of(), killed, resume=True)
        log = read_run(killed)
        assert any("resumed_from" in note for note in log.notes)
        same_run(read_run(whole[1]), log)


def test_a_run_that_was_stopped_before_its_first_step_begins_anew(whole, tmp_path):
    controls = Controls()
    controls.send({"command": "stop"})
    assert run_job(job_of(), tmp_path / "run", controls=controls)["steps"] == 0
    run_job(job_of(), tmp_path / "run", resume=True)
    log = read_run(tmp_path / "run")
    assert log.spectra_steps.tolist().count(0) == 1
    same_run(read_run(whole[1]), log)


def fail_at(step):
    def progress(done, _result):
        if done == step:
            raise RuntimeError("power")

    return progress


def same_run(left, right):
    assert left.steps["step"].tolist() == right.steps["step"].tolist()
    for key in ("task_loss", "regularizer", "loss", "learning_rate", "budget"):
        assert np.array_equal(left.steps[key], right.steps[key]), key
    assert np.array_equal(left.spectra_steps, right.spectra_steps)
    assert np.array_equal(left.ranks, right.ranks)
    assert np.array_equal(left.values, right.values)
    assert left.events == right.events
    assert [e["metrics"] for e in left.evals] == [e["metrics"] for e in right.evals]


def test_the_same_job_twice_gives_the_same_log_and_another_seed_does_not(whole, tmp_path):
    run_job(job_of(), tmp_path / "again")
    same_run(read_run(whole[1]), read_run(tmp_path / "again"))
    other = build_job("digits", "flexlora", steps=3, seed=2, settings={"initial_budget": 0})
    run_job(other, tmp_path / "other")
    assert read_run(tmp_path / "other").steps["task_loss"][0] != read_run(whole[1]).steps["task_loss"][0]


def test_the_saved_adapter_belongs_to_the_final_ranks(whole):
    from flexlora.tasks import load_task

    log = read_run(whole[1])
    loaded = load_adapter(load_task("digits", 1).model, whole[1] / "adapter")
    last = np.zeros(log.ranks.shape[1], int)
    last[:] = log.ranks[-1]
    assert list(loaded.ranks().values()) == last.tolist()


def test_pause_step_next_event_and_stop_are_obeyed(tmp_path):
    controls = Controls(paused=True)
    done = []
    thread = threading.Thread(
        target=run_job,
        args=(job_of(steps=60), tmp_path / "steered"),
        kwargs={"controls": controls, "progress": lambda step, _: done.append(step)},
    )
    thread.start()

    def wait_for(condition):
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    wait_for(lambda: (tmp_path / "steered" / "checkpoint" / "state.safetensors").exists())
    assert not done
    controls.send({"command": "step"})
    wait_for(lambda: done == [1] and controls.paused)
    controls.send({"command": "next_event"})
    wait_for(lambda: controls.paused and done[-1] == 5)
    controls.send({"command": "set", "key": "initial_budget", "value": 1})
    controls.send({"command": "set", "key": "initial_rank", "value": 3})
    controls.send({"command": "next_event"})
    wait_for(lambda: controls.paused and done[-1] == 8)
    controls.send({"command": "resume"})
    wait_for(lambda: done[-1] > 9)
    at_stop = done[-1]
    controls.send({"command": "stop"})
    thread.join(20)
    assert not thread.is_alive()
    assert done[-1] <= at_stop + 2
    log = read_run(tmp_path / "steered")
    assert log.state == "stopped"
    assert [event["budget"] for event in log.events][:2] == [12, 1]
    kinds = [note["kind"] for note in log.notes]
    assert kinds.count("paused") >= 3
    edited = next(note for note in log.notes if note["kind"] == "edited")
    assert (edited["old"], edited["new"]) == ({"initial_budget": 12}, {"initial_budget": 1})
    refused = next(note for note in log.notes if note["kind"] == "edit_refused")
    assert "initial_rank cannot change while training" in refused["message"]


def test_a_live_edit_survives_resume(tmp_path):
    controls = Controls()
    controls.send({"command": "set", "key": "initial_budget", "value": "2"})
    run_job(job_of(), tmp_path / "edited", controls=controls, progress=stop_at(controls, 6))
    run_job(job_of(), tmp_path / "edited", resume=True)
    assert [event["budget"] for event in read_run(tmp_path / "edited").events] == [2, 2, 2, 2]


def test_a_loss_that_is_not_finite_ends_the_run_with_that_reason_and_an_intact_log(tmp_path):
    with pytest.raises(TrainingFailed, match="Non-finite loss or gradient at step"):
        run_job(job_of(learning_rate=1e30), tmp_path / "nan")
    log = read_run(tmp_path / "nan")
    assert log.state == "failed"
    assert "Non-finite" in log.end["message"]
    assert len(log.steps["step"]) >= 1
    assert np.isfinite(log.steps["task_loss"]).all()


def test_an_interrupt_after_the_end_is_told_as_one_and_the_run_has_ended(tmp_path, monkeypatch):
    def interrupted(_folder):
        raise KeyboardInterrupt

    monkeypatch.setattr("flexlora.loop.remove_checkpoint", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_job(job_of(steps=2, method="lora"), tmp_path / "run")
    log = read_run(tmp_path / "run")
    assert (log.state, log.end["reason"], log.notices) == ("finished", "completed", [])


def test_lora_and_head_only_move_no_rank(tmp_path):
    run_job(job_of(steps=4, method="lora"), tmp_path / "lora")
    run_job(job_of(steps=10, control="head_only"), tmp_path / "head")
    lora, head = read_run(tmp_path / "lora"), read_run(tmp_path / "head")
    assert not lora.events
    assert (lora.values == 1).all()
    assert not head.events
    assert not head.values.any()


def test_a_folder_that_holds_a_run_is_not_overwritten(whole):
    before = (whole[1] / "crc.jsonl").read_bytes()
    with pytest.raises(RunLogError, match="resume"):
        run_job(job_of(), whole[1])
    assert (whole[1] / "crc.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"initial_rank": 3, "target_modules": ("query", "value"), "learning_rate": 0.01},
        {
            "schedule": "points",
            "points": ((2, 4), (9, 0)),
            "max_rank": 9,
            "save_adapter": False,
            "control": "head_only",
        },
    ],
)
def test_the_command_in_the_header_makes_the_same_job(changes, tmp_path):
    from flexlora.train import _new_job, _parser

    job = build_job("words", "flexlora", "paper", 50, 3, changes)
    words = command_line(job, tmp_path / "run").split(" -m flexlora.train ")[1]
    import shlex

    assert _new_job_of(_parser().parse_args(shlex.split(words)), _new_job) == job


def _new_job_of(options, new_job):
    from flexlora.train import _pair

    return new_job(options, dict(_pair(text) for text in options.set))


def test_a_job_survives_its_json_form():
    import json

    job = build_job("digits", "flexlora", "reference", 80, 2, {"target_modules": "query,value", "max_rank": "12"})
    assert Job.from_dict(json.loads(json.dumps(job.to_dict()))) == job


@pytest.mark.parametrize(
    ("request_of", "says"),
    [
        ({"task": "wrods"}, "words, digits"),
        ({"method": "dora"}, "flexlora, lora"),
        ({"preset": "papre"}, "paper"),
        ({"settings": {"inital_rank": "4"}}, "initial_rank"),
        ({"settings": {"initial_rank": "four"}}, "initial_rank"),
        ({"settings": {"total_steps": "4"}}, "--steps"),
        ({"settings": {"learning_rate": "-1"}}, "above 0"),
        ({"settings": {"control": "both"}}, "head_only"),
        ({"method": "lora", "settings": {"importance": "random"}}, "does not belong to method lora"),
        ({"steps": 100, "settings": {"warmup_steps": "90"}}, "warmup_steps"),
        ({"steps": 0}, "at least 1"),
    ],
)
def test_a_bad_request_gets_one_line_that_names_the_way_out(request_of, says):
    with pytest.raises(FlexLoRAError, match=says) as caught:
        build_job(**request_of)
    assert "\n" not in str(caught.value)


def test_an_unknown_command_names_the_known_ones():
    with pytest.raises(FlexLoRAError, match="next_event"):
        Controls().send({"command": "jump"})
    with pytest.raises(FlexLoRAError, match='needs "values"'):
        Controls().send({"command": "set", "key": "initial_budget"})
