"""Runs of a class train in a process of their own: steered, stopped, killed and gone on with as in the server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from flexlora.job import build_job
from flexlora.loop import run_job
from flexlora.run_log import read_run, run_state
from jobs import registry as lines
from jobs import sharing
from jobs.caps import Caps
from jobs.live import LiveJob, Request
from jobs.owner import Owner
from jobs.registry import Registry, loads_torch
from jobs.run_process import RunProcess
from tests.mortal import differences

ANNA, BEN = Owner.of("anna"), Owner.of("ben")
SHORT = build_job("planted", steps=40)
LONG = build_job("planted", steps=100_000)
PATIENCE_S = 300
APP = Path(__file__).resolve().parents[2] / "app"


@pytest.fixture(scope="module")
def process():
    own = RunProcess()
    yield own
    own.close()


@pytest.fixture
def registry(process, monkeypatch):
    """The line of a class; whatever still trains is stopped in the end."""
    sharing.tell([], {ANNA.key: "Anna", BEN.key: "Ben"}, Caps(steps=100_000))
    monkeypatch.setattr(lines, "RUN_PROCESS", process)
    own = Registry()
    yield own
    assert own.close(PATIENCE_S)
    sharing.forget()


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def children() -> set[int]:
    mine = [one for one in psutil.Process().children() if "flexlora.served" in one.cmdline()]
    return {one.pid for one in mine if one.status() != psutil.STATUS_ZOMBIE}


def training(registry: Registry, owner: Owner, tmp_path: Path, **more) -> LiveJob:
    live = registry.start(owner, Request(LONG, **more), tmp_path)
    wait_for(lambda: live.step > 20 or live.outcome)
    assert live.state == "training", live.error
    return live


def test_outside_a_class_a_run_trains_in_the_server(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr("flexlora.loop.run_job", lambda job, folder, **more: asked.append((job, more["resume"])))
    live = Registry().start(ANNA, Request(SHORT), tmp_path)
    assert live.over.wait(10) and asked == [(SHORT, False)] and live.error is None
    assert not children()


def test_a_run_is_steered_there_as_here_and_its_log_is_the_same(registry, tmp_path):
    live = registry.start(ANNA, Request(SHORT, parent="demo", paused=True), tmp_path)
    assert live.state == "paused"
    wait_for(lambda: live.controls.waiting_since)
    assert live.step == 0 and registry.line().running is live
    registry.send(ANNA, live, {"command": "step"})
    wait_for(lambda: live.step == 1 and live.controls.paused and live.controls.waiting_since)
    registry.send(ANNA, live, {"command": "set", "values": {"initial_budget": 1}})
    wait_for(lambda: [note for note in read_run(live.folder).notes if note["kind"] == "edited"])
    registry.send(ANNA, live, {"command": "set", "values": {"initial_budget": -1}})
    wait_for(lambda: [note for note in read_run(live.folder).notes if note["kind"] == "edit_refused"])
    registry.send(ANNA, live, {"command": "next_event"})
    wait_for(lambda: live.step > 1 and live.controls.paused and live.controls.waiting_since)
    first_event = live.step
    registry.send(ANNA, live, {"command": "resume"})
    assert live.over.wait(PATIENCE_S)
    assert (live.state, live.step, live.error) == ("finished", 40, None) and live.controls.waited_s > 0
    log = read_run(live.folder)
    assert log.header["parent"] == "demo" and log.events[0]["step"] == first_event
    assert log.header["command"].startswith("python -m flexlora.train")
    run_job(SHORT, tmp_path / "here", edits={1: {"initial_budget": 1}})
    assert not differences(read_run(tmp_path / "here"), log)


def test_runs_follow_each_other_in_one_process_and_what_cannot_begin_says_why(registry, process, tmp_path):
    registry.start(ANNA, Request(SHORT), tmp_path).over.wait(PATIENCE_S)
    assert not loads_torch()
    (one,) = children()
    live = registry.start(ANNA, Request(SHORT), tmp_path)
    assert live.over.wait(PATIENCE_S) and live.state == "finished" and children() == {one}
    text = build_job("text", settings={"model": str(tmp_path / "no_model"), "data": str(tmp_path / "no_data.csv")})
    broken = registry.start(ANNA, Request(text), tmp_path)
    assert broken.over.wait(PATIENCE_S)
    assert broken.state == "failed" and "no_" in broken.error and "\n" not in broken.error
    assert not broken.folder.exists() and children() == {one}


def test_after_what_nobody_foresaw_the_next_run_has_a_process_of_its_own(tmp_path, monkeypatch):
    from flexlora import served

    told: list[dict] = []
    monkeypatch.setattr("flexlora.loop.run_job", lambda *given, **more: 1 / 0)
    asked = {"job": SHORT.to_dict(), "folder": str(tmp_path)}
    last = served._train(asked, served._Steered(told.append, paused=False), told.append)
    assert last == {"error": "ZeroDivisionError: division by zero", "leaves": True}


def test_a_process_that_is_killed_costs_one_run_which_goes_on_and_the_next_one_starts(registry, tmp_path):
    live = training(registry, ANNA, tmp_path)
    after = registry.start(BEN, Request(SHORT), tmp_path)
    wait_for(lambda: live.left_s() is not None)
    registry.send(ANNA, live, {"command": "pause"})
    wait_for(lambda: (live.folder / "checkpoint" / "state.safetensors").exists() and live.controls.waiting_since)
    step = live.step
    (child,) = children()
    os.kill(child, signal.SIGKILL)
    assert live.over.wait(PATIENCE_S) and live.state == "failed"
    assert "SIGKILL" in live.error and "Resume goes on" in live.error and "\n" not in live.error
    assert run_state(live.folder, read_run(live.folder).end) == "crashed"
    assert after.over.wait(PATIENCE_S) and after.state == "finished"
    again = registry.start(ANNA, Request(LONG, folder=live.folder, step=step), tmp_path)
    wait_for(lambda: again.step > step)
    assert f"step {step}" in again.notice and "Resumed" in again.notice
    registry.send(ANNA, again, {"command": "stop"})
    assert again.over.wait(PATIENCE_S) and again.state == "stopped"


def test_a_pause_that_makes_way_is_stopped_there_too(registry, tmp_path):
    live = training(registry, ANNA, tmp_path)
    registry.send(ANNA, live, {"command": "pause"})
    wait_for(lambda: live.controls.waiting_since)
    after = registry.start(BEN, Request(SHORT), tmp_path)
    registry._patience_s = 0.0
    registry.make_way()
    assert live.over.wait(PATIENCE_S) and after.over.wait(PATIENCE_S)
    assert (live.state, after.state) == ("stopped, made way for others", "finished")
    assert read_run(live.folder).end["reason"] == "stopped"


SERVE = """
import sys, time
from pathlib import Path
from flexlora.job import build_job
from jobs import sharing
from jobs.caps import Caps
from jobs.live import Request
from jobs.owner import Owner
from jobs.registry import REGISTRY
anna = Owner.of("anna")
sharing.tell([], {anna.key: "Anna"}, Caps(steps=100_000))
live = REGISTRY.start(anna, Request(build_job("planted", steps=100_000)), Path(sys.argv[1]))
while live.step < 20 and live.outcome is None:
    time.sleep(0.02)
print(live.folder.name, live.step, live.error, flush=True)
if sys.argv[2] == "wait":
    time.sleep(600)
"""


@pytest.mark.parametrize("end", ["killed", "exit"])
def test_a_server_that_ends_takes_its_run_with_it_in_order(end, tmp_path):
    """Killed, or at its own exit: the log has its end, and the run can be gone on with."""
    environment = {**os.environ, "PYTHONPATH": f"{APP.parent}{os.pathsep}{APP}"}
    with subprocess.Popen(
        [sys.executable, "-c", SERVE, str(tmp_path), "wait" if end == "killed" else ""],
        stdout=subprocess.PIPE, text=True, env=environment,
    ) as server:  # fmt: skip
        assert server.stdout is not None
        name, step, error = server.stdout.readline().split()
        assert error == "None"
        (child,) = psutil.Process(server.pid).children() if end == "killed" else (None,)
        if end == "killed":
            server.send_signal(signal.SIGKILL)
    log = tmp_path / name
    wait_for(lambda: read_run(log).end is not None)
    found = read_run(log)
    assert found.end["reason"] == "stopped" and found.steps["step"][-1] >= int(step)
    if child is not None:
        assert child.wait(PATIENCE_S) in (0, None)
    assert (log / "checkpoint" / "state.safetensors").exists()
