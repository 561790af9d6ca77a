"""``python -m flexlora.train`` as a user meets it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import pytest

from flexlora.run_log import read_run
from flexlora.train import main

COMMAND = [sys.executable, "-m", "flexlora.train"]
LONG = ["--task", "planted", "--steps", "100000"]
"""Of a task that begins at once, as it needs no model library."""
SHORT = ["--task", "digits", "--steps", "6", "--set", "interval=1"]


@pytest.fixture(autouse=True)
def signals():
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


def test_a_run_exits_zero_and_prints_one_json_object_last(tmp_path, capsys):
    assert main([*SHORT, "--out", str(tmp_path / "run"), "--json"]) == 0
    out, err = capsys.readouterr()
    summary = json.loads(out.strip().splitlines()[-1])
    assert summary["state"] == "completed"
    assert summary["steps"] == 6
    assert "completed: 6 of 6 steps" in err
    assert read_run(tmp_path / "run").state == "finished"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--task", "wrods"], "Choose one of: words, digits"),
        (["--steps", "many"], "invalid int value"),
        (["--stepz", "3"], "--help"),
        (["--set", "initial_rank"], "KEY=VALUE"),
        (["--set", "inital_rank=3"], "Did you mean initial_rank"),
        (["--set", "initial_rank=99"], "its rank can be 1 to"),
        (["--set", "target_modules=q_proj,nothing"], "Names that exist"),
        (["--set", "warmup_steps=300", "--steps", "300"], "warmup_steps"),
        (["--set", "device=abacus"], "cpu, cuda"),
        (["--resume"], "--resume needs --out"),
    ],
)
def test_bad_input_exits_two_with_one_clear_line(arguments, says, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["--task", "digits", "--steps", "9", *arguments, "--json"]) == 2
    out, err = capsys.readouterr()
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert says in errors[0]
    assert "Traceback" not in err
    assert says in json.loads(out)["error"]
    assert not list(tmp_path.glob("runs/*"))


def test_resuming_what_cannot_be_resumed_says_why(tmp_path, capsys):
    folder = str(tmp_path / "run")
    assert main(["--resume", "--out", str(tmp_path / "nothing")]) == 2
    assert main([*SHORT, "--out", folder]) == 0
    assert main([*SHORT, "--out", folder]) == 2
    assert main(["--resume", "--out", folder]) == 2
    err = capsys.readouterr().err
    assert "holds a run already" in err
    assert "There is nothing to resume" in err


def test_ctrl_c_ends_the_run_cleanly_and_another_seed_does_not_resume_it(tmp_path, capsys):
    folder = tmp_path / "run"
    arguments = [*LONG, "--out", str(folder)]
    process = subprocess.Popen([*COMMAND, *arguments], stderr=subprocess.PIPE, text=True)
    wait_until_training(folder)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    log = read_run(folder)
    assert log.state == "stopped"
    assert 0 < log.steps["step"][-1] < 100_000
    assert main([*arguments, "--seed", "5", "--resume"]) == 2
    assert "was started with seed=0, not 5" in capsys.readouterr().err


def test_a_parent_that_dies_stops_its_child_and_commands_are_read(tmp_path):
    folder = tmp_path / "child"
    command = [*COMMAND, *LONG, "--out", str(folder), "--commands"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_until_training(folder)
        process.stdin.write('{"command": "dance"}\n{"command": "pause"}\n')
        process.stdin.flush()
        wait_for(lambda: any(note["kind"] == "paused" for note in read_run(folder).notes))
        process.stdin.close()
        assert process.wait(timeout=30) == 130
        assert "Unknown command 'dance'" in process.stderr.read()
    assert read_run(folder).state == "stopped"


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def wait_until_training(folder):
    wait_for(lambda: (folder / "run.json").exists() and len(read_run(folder).steps["step"]) >= 3)


def test_a_killed_run_opens_as_crashed_and_resume_finishes_it(tmp_path, capsys):
    folder = tmp_path / "run"
    arguments = ["--task", "digits", "--steps", "60", "--out", str(folder)]
    command = [*COMMAND, *arguments, "--set", "checkpoint_interval_s=0.2"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        wait_for((folder / "checkpoint" / "state.safetensors").exists)
        wait_until_training(folder)
        process.kill()
    log = read_run(folder)
    assert log.state == "crashed"
    assert 0 < len(log.steps["step"]) < 60
    assert main([*arguments, "--resume"]) == 0, capsys.readouterr().err
    log = read_run(folder)
    assert [note["resumed_from"] > 0 for note in log.notes if note["kind"] == "resumed_from"] == [True]
    assert (log.state, log.notices) == ("finished", [])
    assert log.steps["step"].tolist() == list(range(1, 61))
    assert log.spectra_steps.tolist() == list(range(61))
