"""Live edits: by hand, by a script, and after a crash they are the same run."""

from __future__ import annotations

import numpy as np
import pytest

from flexlora.controls import Controls
from flexlora.edits import apply_edit, live_options, parse_edits
from flexlora.errors import FlexLoRAError
from flexlora.job import build_job
from flexlora.loop import run_job
from flexlora.run_log import read_run

pytestmark = pytest.mark.usefixtures("few_examples")

SETTINGS = {"interval": 3, "warmup_steps": 2, "final_steps": 3, "eval_interval": 10, "initial_budget": 6}
SMALL = {"batch_size": 8, "target_modules": "q_proj,mlp.fc1"}


def job_of(**settings):
    return build_job("digits", "flexlora", steps=24, seed=1, settings={**SETTINGS, **SMALL, **settings})


def same(first, second):
    assert first.values.tobytes() == second.values.tobytes()
    assert first.ranks.tolist() == second.ranks.tolist()
    np.testing.assert_array_equal(first.steps["loss"], second.steps["loss"])
    assert first.events == second.events


def by_hand(job, folder, steps):
    """Send each edit once its step is done, as a page does, and pause there so that none comes late."""
    controls = Controls()

    def progress(done, _result):
        if done in steps:
            controls.send({"command": "set", "values": steps[done]})

    run_job(job, folder, controls=controls, progress=progress)
    return read_run(folder)


EDITS = {
    7: {"initial_budget": 1},
    11: {"schedule": "points", "points": [[0, 4], [24, 2]], "final_steps": 2},
    14: {"schedule": "adaptive"},
}


def test_edits_by_hand_and_by_script_make_the_same_run(tmp_path):
    hand = by_hand(job_of(), tmp_path / "hand", EDITS)
    texts = [
        "14:schedule=adaptive", "7:initial_budget=1", "11:schedule=points",
        "11:points=[[0, 4], [24, 2]]", "11:final_steps=2",
    ]  # fmt: skip
    run_job(job_of(), tmp_path / "script", edits=parse_edits(texts, job_of().config))
    script = read_run(tmp_path / "script")
    same(hand, script)
    assert [note["step"] for note in script.notes if note["kind"] == "edited"] == [7, 11, 14]
    assert script.notes[1]["new"] == {"schedule": "points", "points": [[0, 4.0], [24, 2.0]], "final_steps": 2}
    assert script.notes[1]["old"] == {"schedule": "paper", "points": [], "final_steps": 3}
    plain = run_job(job_of(), tmp_path / "plain")
    assert plain["moved"] != sum(len(event["prune"]) for event in script.events)


def test_an_edit_before_the_first_step_of_a_run_stopped_there_keeps_its_note(tmp_path):
    controls = Controls()
    controls.send({"command": "set", "values": {"initial_budget": 1}})
    controls.send({"command": "stop"})
    run_job(job_of(), tmp_path / "parts", controls=controls)
    run_job(job_of(), tmp_path / "parts", resume=True)
    parts = read_run(tmp_path / "parts")
    assert [note["new"] for note in parts.notes if note["kind"] == "edited"] == [{"initial_budget": 1}]
    run_job(job_of(), tmp_path / "whole", edits={0: {"initial_budget": 1}})
    same(read_run(tmp_path / "whole"), parts)


def stop_at(step):
    controls = Controls()

    def progress(done, _result):
        if done == step:
            controls.send({"command": "stop"})

    return {"controls": controls, "progress": progress}


def test_a_scripted_run_that_stops_and_resumes_is_the_uninterrupted_one(tmp_path):
    """Stopped before an edit, at one, between two and after both."""
    edits = {7: {"initial_budget": 1}, 11: {"schedule": "constant"}}
    run_job(job_of(), tmp_path / "whole", edits=dict(edits))
    for stop in (6, 7, 9, 12):
        run_job(job_of(), tmp_path / "parts", resume=stop > 6, edits=dict(edits), **stop_at(stop))
        assert read_run(tmp_path / "parts").steps["step"][-1] == stop
    run_job(job_of(), tmp_path / "parts", resume=True, edits=dict(edits))
    whole, parts = read_run(tmp_path / "whole"), read_run(tmp_path / "parts")
    same(whole, parts)
    made = [[note["new"] for note in log.notes if note["kind"] == "edited"] for log in (whole, parts)]
    assert made[0] == made[1]


def test_an_edit_is_in_the_checkpoint_before_the_next_step(tmp_path):
    class Died(Exception):
        pass

    controls = Controls()

    def progress(done, _result):
        if done == 7:
            controls.send({"command": "set", "values": {"initial_budget": 1}})
        if done == 8:
            raise Died

    with pytest.raises(Died):
        run_job(job_of(checkpoint_interval_s=1e9), tmp_path / "died", controls=controls, progress=progress)
    run_job(job_of(checkpoint_interval_s=1e9), tmp_path / "died", resume=True)
    run_job(job_of(), tmp_path / "whole", edits={7: {"initial_budget": 1}})
    same(read_run(tmp_path / "whole"), read_run(tmp_path / "died"))


def test_an_edit_is_made_whole_or_not_at_all(tmp_path):
    log = by_hand(job_of(), tmp_path / "run", {4: {"initial_budget": 2, "schedule": "points"}})
    assert [note["kind"] for note in log.notes] == ["edit_refused"]
    assert "needs points" in log.notes[0]["message"]
    assert log.events[0]["budget"] > 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("initial_budget=4", "STEP:KEY=VALUE"),
        ("ten:initial_budget=4", "STEP:KEY=VALUE"),
        ("-1:initial_budget=4", "STEP:KEY=VALUE"),
        ("5:initial_budget", "STEP:KEY=VALUE"),
        ("24:initial_budget=4", "the run has 24 steps"),
        ("5:alpha=4", "cannot change while training"),
        ("5:initial_budget=-1", "at least 0"),
        ("5:initial_budget=many", "whole number"),
        ("5:schedule=points", "needs points"),
        ("5:warmup_steps=90", "No room for an event"),
    ],
)
def test_a_script_that_cannot_work_is_refused_before_training(text, message):
    with pytest.raises(FlexLoRAError, match=message) as caught:
        parse_edits([text], job_of().config)
    assert len(str(caught.value).splitlines()) == 1


def test_edits_build_on_each_other():
    config = job_of().config
    first = apply_edit(config, {"schedule": "points", "points": [[0, 3]]})
    assert apply_edit(first, {"points": "[[0, 5]]"}).budget(5) == 5
    assert "initial_budget" in live_options(type(config))
    assert "seed" not in live_options(type(config))
