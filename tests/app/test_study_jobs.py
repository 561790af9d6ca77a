"""Studies in the line of jobs: they wait and end like a run, and one true process that is stopped and gone on with."""

from __future__ import annotations

import threading
import time

import pytest

from flexlora.errors import FlexLoRAError
from flexlora.job import build_job
from flexlora.study.files import SPEC, SUMMARY
from flexlora.study.partial import read_partial
from flexlora.study.plan import plan_study
from flexlora.study.spec import read_study_text
from jobs import start_up
from jobs.line import progress_text
from jobs.live import Request
from jobs.owner import Owner, read_owner
from jobs.queue_file import QUEUE
from jobs.registry import Registry
from jobs.study_job import StudyJob, study_job

ANNA, BEN = Owner.of("anna"), Owner.of("ben")
JOB = build_job("digits", steps=40)
TEXT = """
name: two by two
tasks: [digits]
methods: [lora, flexlora]
seeds: 2
settings: {steps: 12, save_adapter: false, eval_interval: 12, target_modules: "q_proj,v_proj"}
equal: final_rank
"""

PLANTED = """
name: of a task that workers begin at once
tasks: [planted]
methods: [lora, flexlora]
seeds: 1
metric: loss
settings: {steps: 60, save_adapter: false, eval_interval: 60}
equal: final_rank
"""


def job_of(text: str = TEXT) -> StudyJob:
    return study_job(text, plan_study(read_study_text(text, "study.yaml")))


PATIENCE_S = 300


class Stage:
    """A registry whose jobs end when the test says."""

    def __init__(self, root) -> None:
        self.root, self.now = root, 0.0
        self.turns: list = []
        self.registry = Registry(lambda live: None, lambda work, _: self.turns.append(work), lambda: self.now)

    def start(self, owner, request, **more):
        return self.registry.start(owner, request, self.root, **more)

    def finish(self) -> None:
        self.turns.pop(0)()


@pytest.fixture
def stage(tmp_path):
    return Stage(tmp_path)


def test_the_job_counts_the_runs_and_steps_of_search_and_comparison():
    tuned = TEXT + "tune: {trials: 3, seeds: [1000], learning_rate: {low: 1e-3, high: 1e-2}}\n"
    job = job_of(tuned)
    assert (job.runs, job.trials, job.steps, job.trial_steps) == (4 + 6, 6, 12 * 10, 12 * 6)


def test_a_study_waits_its_turn_and_its_folder_says_what_and_whose_it_is(stage):
    stage.start(ANNA, Request(JOB))
    live = stage.start(BEN, Request(job_of()))
    assert live.state == "waiting in line" and live.folder.name == "two-by-two"
    assert (live.folder / SPEC).read_text() == TEXT and read_owner(live.folder) == BEN.key
    assert not (stage.root / QUEUE).exists(), "its folder keeps it"
    again = stage.start(ANNA, Request(job_of()), replace=True)
    assert again.folder.name == "two-by-two-2"
    with pytest.raises(FlexLoRAError, match="only that one may"):
        stage.registry.send(ANNA, live, {"command": "stop"})
    stage.registry.cancel(BEN)
    assert not live.folder.exists()


def test_nobody_goes_on_with_the_study_of_somebody_else(stage):
    live = stage.start(BEN, Request(job_of()))
    (live.folder / "runs").mkdir()
    stage.finish()
    with pytest.raises(FlexLoRAError, match="belongs to another browser"):
        stage.start(ANNA, Request(job_of(), folder=live.folder))
    stage.start(BEN, Request(job_of(), folder=live.folder))


def test_steps_that_are_told_several_at_once_have_the_pace_of_one(stage):
    live = stage.start(ANNA, Request(job_of()))
    for number in range(12):
        stage.now = 2.0 * number
        live.finished_step(4 * (number + 1))
    live.runs = 3
    assert live.step_s() == pytest.approx(0.5)
    assert progress_text(live) == "training, 3 of 4 runs done, about 0 s left"


def test_a_run_and_a_study_take_turns(stage):
    stage.start(ANNA, Request(job_of()))
    run = stage.start(BEN, Request(JOB))
    stage.finish()
    assert run.launched


def test_a_true_process_stops_after_its_steps_and_is_gone_on_with_to_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(start_up, "_measured", [])
    short = job_of(PLANTED)
    registry = Registry(launch=lambda work, name: threading.Thread(target=work, name=name, daemon=True).start())
    live = registry.start(ANNA, Request(short), tmp_path)
    deadline = time.monotonic() + PATIENCE_S
    while not live.step and live.outcome is None and time.monotonic() < deadline:
        time.sleep(0.05)
    registry.send(ANNA, live, {"command": "stop"})
    assert live.over.wait(PATIENCE_S) and live.error is None
    assert read_partial(live.folder).runs == 2
    assert start_up.start_up_s() != start_up.GUESS_S, "the first step was timed"
    rest = registry.start(ANNA, Request(short, folder=live.folder), tmp_path)
    assert rest.over.wait(PATIENCE_S) and rest.error is None
    assert rest.state == "finished" and (live.folder / SUMMARY).exists()
    whole = read_partial(live.folder)
    assert not whole.refused and [row["budget_share"] for row in whole.rows] == [1.0, 1.0]


def test_what_cannot_be_made_is_told_in_one_line(tmp_path):
    registry = Registry(launch=lambda work, name: threading.Thread(target=work, name=name, daemon=True).start())
    job = job_of()
    broken = StudyJob(TEXT.replace("digits", "dogits"), job.name, job.runs, job.steps)
    live = registry.start(ANNA, Request(broken), tmp_path)
    assert live.over.wait(PATIENCE_S)
    assert "dogits" in (live.error or "") and "\n" not in live.error
    assert not live.folder.exists()
