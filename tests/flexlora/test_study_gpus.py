"""Several GPUs: which are seen, and that each worker gets one. No GPU is needed."""

from __future__ import annotations

import io
import threading

import pytest

from flexlora.study import gpus, pool
from flexlora.study.outcome import Outcome
from flexlora.study.plan import plan_study
from flexlora.study.progress import Progress
from flexlora.study.spec import parse_study


def runs(device: str, seeds: int = 4):
    content = {"tasks": ["digits"], "methods": ["lora"], "seeds": seeds, "settings": {"device": device}}
    return plan_study(parse_study({**content, "equal": "none"}, "study.yaml")).runs()


@pytest.mark.parametrize(
    ("told", "seen"), [("0,2", ["0", "2"]), ("GPU-5ab", ["GPU-5ab"]), ("1,-1,2", ["1"]), ("", []), ("-1", [])]
)
def test_the_environment_says_which_gpus_may_be_used(told, seen, monkeypatch):
    monkeypatch.setenv(gpus.VISIBLE, told)
    assert gpus.visible_gpus() == seen


def test_without_it_the_driver_says_and_a_machine_without_driver_has_none(monkeypatch, tmp_path):
    monkeypatch.delenv(gpus.VISIBLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus.visible_gpus() == []
    command = tmp_path / "nvidia-smi"
    command.write_text("#!/bin/sh\necho 'GPU 0: H (UUID: GPU-1)'\necho 'GPU 1: H (UUID: GPU-2)'\n", encoding="utf-8")
    command.chmod(0o755)
    assert gpus.visible_gpus() == ["0", "1"]


def test_as_many_runs_go_side_by_side_as_there_are_gpus(monkeypatch):
    monkeypatch.setenv(gpus.VISIBLE, "0,1,2")
    assert pool.default_jobs(runs("cuda")) == 3
    # What names one GPU means that one.
    assert pool.default_jobs(runs("cuda:1")) == 1 and gpus.shared_out(runs("cuda:1")) == []
    assert gpus.shared_out(runs("cpu")) == []
    monkeypatch.setenv(gpus.VISIBLE, "5")
    assert pool.default_jobs(runs("cuda")) == 1 and gpus.shared_out(runs("cuda")) == []
    monkeypatch.setenv(gpus.VISIBLE, "")
    assert pool.default_jobs(runs("cuda")) == 1


def test_each_worker_sees_one_gpu(monkeypatch, tmp_path):
    monkeypatch.setenv(gpus.VISIBLE, "0,7")
    seen, both = [], threading.Barrier(2, timeout=30)

    class Worker:
        def __init__(self, gpu):
            seen.append(pool.environment_of(gpu)[gpus.VISIBLE])
            both.wait()

        def perform(self, group, root, progress):
            return [Outcome("completed") for _ in group]

        def close(self):
            return ""

    monkeypatch.setattr(pool, "_Worker", Worker)
    planned = runs("cuda")
    progress = Progress("runs", planned, set(), io.StringIO())
    outcomes = pool.run_here(
        [[run] for run in planned], tmp_path, progress, threading.Event(), pool.default_jobs(planned)
    )
    assert sorted(seen) == ["0", "7"] and len(outcomes) == 4
