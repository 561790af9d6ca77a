"""Nobody writes beside a process that is suspended, anybody over one that was killed; and what comes after the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
import torch
from torch import nn

from flexlora import FlexLoRAConfig, attach
from flexlora.errors import FlexLoRAError
from flexlora.integrations import Recorder
from flexlora.job import build_job
from flexlora.run_header import matrix_table
from flexlora.run_log import RunLogError, RunWriter, add_eval, discard_empty, glance_run, read_header, read_run
from flexlora.train import main

CHILD = """
import json, sys, time
from flexlora.run_log import RunWriter
writer = RunWriter(sys.argv[1], json.loads(sys.argv[2]))
writer.step(1, task_loss=1.0)
writer.flush()
print("writing", flush=True)
time.sleep(600)
"""
HEADER = {"matrices": [{"name": "a"}], "config": {}}


def parts():
    torch.manual_seed(0)
    config = FlexLoRAConfig(initial_rank=2, total_steps=20)
    adapter = attach(nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)), config)
    return adapter, torch.optim.AdamW(adapter.trainable_parameters()), config


@pytest.mark.skipif(sys.platform == "win32", reason="there processes cannot be suspended so")
def test_nobody_writes_beside_a_suspended_process_and_anybody_over_a_killed_one(tmp_path, capsys):
    folder, (adapter, optimizer, config) = tmp_path / "run", parts()
    header = json.dumps({"matrices": matrix_table(adapter), "config": build_job("digits").to_dict()})
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(folder), header], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout.readline() == "writing\n"
        os.kill(child.pid, signal.SIGSTOP)
        beat = json.loads((folder / "heartbeat.json").read_text())
        (folder / "heartbeat.json").write_text(json.dumps({**beat, "unix_s": 0}))
        assert read_run(folder).state == "running"
        told = f"is being trained by another process .{child.pid} "
        with pytest.raises(RunLogError, match=told):
            RunWriter(folder, {}, resume_from=1)
        with pytest.raises(RunLogError, match=told):
            Recorder(adapter, optimizer, config, folder, resume_from=1)
        with pytest.raises(RunLogError, match=told):
            add_eval(folder, 1, "test", {"loss": 1.0})
        assert main(["--out", str(folder), "--resume"]) == 2
        assert "is being trained by another process" in capsys.readouterr().err
        # Without a heartbeat the lock still tells.
        (folder / "heartbeat.json").unlink()
        with pytest.raises(RunLogError, match="is being trained by another process"):
            RunWriter(folder, {}, resume_from=1)
    finally:
        child.kill()
        child.communicate()
    assert read_run(folder).state == "crashed"
    recorder = Recorder(adapter, optimizer, config, folder, resume_from=1)
    recorder.close("stopped")
    run = read_run(folder)
    assert run.state == "stopped" and run.steps["step"].tolist() == [1] and not run.notices


def finished(folder):
    with RunWriter(folder, HEADER) as writer:
        for step in (1, 2):
            writer.step(step, task_loss=1.0)
        writer.eval(2, "validation", {"loss": 1.0})
        writer.end("completed", wall_s=3.0)


def test_an_evaluation_is_added_to_a_run_that_has_ended(tmp_path):
    folder = tmp_path / "run"
    finished(folder)
    before = read_run(folder)
    add_eval(str(folder), 2, "test", {"loss": 0.5, "accuracy": 1.0}, samples=7)
    run = read_run(folder)
    assert run.evals == [
        *before.evals,
        {"step": 2, "split": "test", "metrics": {"loss": 0.5, "accuracy": 1.0}, "samples": 7, "wall_s": None},
    ]
    assert (run.state, run.end, run.notes, run.notices) == ("finished", before.end, before.notes, [])
    assert run.steps["step"].tolist() == [1, 2]
    # A run that was resumed since keeps what its last start has.
    with RunWriter(folder, {}, resume_from=1) as writer:
        writer.step(2, task_loss=2.0)
        writer.end("completed")
    add_eval(folder, 2, "test", {"loss": 0.25})
    run = read_run(folder)
    assert [record["metrics"]["loss"] for record in run.evals] == [0.25] and run.state == "finished"


def test_an_evaluation_is_not_added_while_the_run_is_written(tmp_path):
    with RunWriter(tmp_path / "run", HEADER) as writer:
        writer.step(1, task_loss=1.0)
        with pytest.raises(RunLogError, match="by this very process"):
            add_eval(tmp_path / "run", 1, "test", {"loss": 1.0})
        writer.step(2, task_loss=1.0)
    assert read_run(tmp_path / "run").steps["step"].tolist() == [1, 2]
    with pytest.raises(RunLogError, match="is not a run"):
        add_eval(tmp_path, 1, "test", {"loss": 1.0})


def test_only_a_run_without_a_step_is_discarded(tmp_path):
    finished(tmp_path / "run")
    assert not discard_empty(tmp_path / "run") and read_run(tmp_path / "run").state == "finished"
    writer = RunWriter(tmp_path / "empty", HEADER)
    assert not discard_empty(tmp_path / "empty")
    writer.end("stopped")
    assert discard_empty(tmp_path / "empty")
    finished(tmp_path / "empty")


def test_text_names_a_run_as_a_path_does(tmp_path):
    finished(tmp_path / "run")
    text = str(tmp_path / "run")
    assert glance_run(text) == glance_run(tmp_path / "run")
    assert read_header(text) == read_header(tmp_path / "run")
    for read in (glance_run, read_run, read_header):
        with pytest.raises(RunLogError, match="does not exist"):
            read(str(tmp_path / "none"))


def test_more_threads_than_any_machine_has_are_refused(tmp_path, capsys):
    assert main(["--task", "digits", "--set", "threads=100000", "--out", str(tmp_path / "run")]) == 2
    assert "threads=100000 must be below 1025" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    with pytest.raises(FlexLoRAError, match="threads=1025"):
        build_job("digits", settings={"threads": 1025})
