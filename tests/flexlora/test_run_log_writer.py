"""What happens to a run log while it is written: races, forks, full disks, misuse."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from analysis.runs import load_run
from flexlora.run_log import RunLogError, RunWriter, find_runs, read_run

NAMES = ["a", "b"]
HEADER = {"config": {}, "matrices": [{"name": name, "layer": 0, "in_features": 8} for name in NAMES]}


def write_steps(writer: RunWriter, first: int, last: int) -> None:
    for step in range(first, last + 1):
        writer.step(step, task_loss=1 / step)
        writer.spectrum(step, [[float(step), 0.5], [1.0]], [[float(step), 0.5], [1.0]] if step % 2 else None)
        writer.event(step, 1, {"spectral_entropy": {"a": 0.5}}, "spectral_entropy")


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "run"
    with RunWriter(path, HEADER) as writer:
        write_steps(writer, 1, 6)
        writer.end("completed")
    # As after ten seconds: while somebody may be writing, a torn end is no news.
    (path / "heartbeat.json").unlink()
    return path


def test_the_flush_thread_and_the_training_thread_do_not_hurt_each_other(tmp_path, monkeypatch):
    died = []
    monkeypatch.setattr(threading, "excepthook", died.append)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with RunWriter(tmp_path / "run", HEADER, flush_interval_s=0.0) as writer:
            for step in range(1, 1501):
                writer.step(step, task_loss=float(step))
                writer.spectrum(step, [[float(step)], [1.0]])
                if step % 3 == 0:
                    writer.flush()
    finally:
        sys.setswitchinterval(interval)
    log = read_run(tmp_path / "run")
    assert log.steps["task_loss"].tolist() == log.spectra_steps.tolist() == list(range(1, 1501))
    assert not died
    assert not log.notices


def test_after_close_nothing_writes_and_no_thread_or_handle_is_left(tmp_path):
    before = threading.active_count()
    writer = RunWriter(tmp_path / "run", HEADER)
    writer.close()
    writer.close()
    assert threading.active_count() == before
    shutil.rmtree(tmp_path / "run")
    with pytest.raises(ValueError, match="closed"):
        writer.note("late")
    if os.path.isdir("/proc/self/fd"):  # noqa: PTH112  (a place of this system only)
        assert not [fd for fd in os.scandir("/proc/self/fd") if str(tmp_path) in _target(fd.path)]


def _target(path: str) -> str:
    try:
        return os.readlink(path)  # noqa: PTH115  (the file may be gone)
    except OSError:
        return ""


def test_a_start_that_fails_half_way_leaves_no_thread_and_no_handle(tmp_path, monkeypatch):
    before = threading.active_count()

    def fail(_folder) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("flexlora.run_log.files.beat", fail)
    with pytest.raises(RunLogError, match="No space left"):
        RunWriter(tmp_path / "run", HEADER)
    assert threading.active_count() == before


def test_a_failed_flush_of_the_thread_is_raised_by_the_next_call(tmp_path, monkeypatch):
    writer = RunWriter(tmp_path / "run", HEADER, flush_interval_s=0.05)

    def fail(*_) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer._files, "append", fail)
    writer.step(1, task_loss=1.0)
    deadline = time.monotonic() + 5
    with pytest.raises(RunLogError, match="free some space and resume"):
        while time.monotonic() < deadline:
            writer.note("waiting")
            time.sleep(0.02)
    with pytest.raises(RunLogError):
        writer.close()
    assert read_run(tmp_path / "run").notices == []


def test_a_folder_that_is_gone_is_told_without_a_promise(tmp_path):
    writer = RunWriter(tmp_path / "run", HEADER)
    writer.step(1, task_loss=1.0)
    shutil.rmtree(tmp_path / "run")
    with pytest.raises(RunLogError, match=r"No such file.*The folder was removed or moved") as told:
        writer.close()
    assert "safe" not in str(told.value) and "resume" not in str(told.value)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_writes_nothing(tmp_path):
    with RunWriter(tmp_path / "run", HEADER, flush_interval_s=60) as writer:
        writer.step(1, task_loss=1.0)
        child = os.fork()
        if child == 0:
            try:
                writer.close()
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        writer.step(2, task_loss=2.0)
    log = read_run(tmp_path / "run")
    assert log.steps["step"].tolist() == [1, 2]
    assert not log.notices


def test_remains_of_a_run_are_not_mixed_with_a_new_one(folder):
    (folder / "run.json").unlink()
    with pytest.raises(RunLogError, match="holds a run already"):
        RunWriter(folder, HEADER)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(RunLogError, match="Choose another folder"):
            RunWriter(place, HEADER)


def test_a_run_is_resumed_only_where_it_stopped_and_with_its_own_matrices(folder):
    with pytest.raises(RunLogError, match="other matrices"):
        RunWriter(folder, {"matrices": [{"name": "c"}]}, resume_from=3)
    with (
        RunWriter(folder, HEADER, resume_from=3) as writer,
        pytest.raises(ValueError, match="step 3 after step 3"),
    ):
        writer.step(3)
    assert read_run(folder).steps["step"].tolist() == [1, 2, 3]


def test_resuming_from_before_step_0_makes_everything_anew(tmp_path):
    with RunWriter(tmp_path / "run", HEADER) as writer:
        writer.spectrum(0, [[1.0], [2.0]])
    with RunWriter(tmp_path / "run", HEADER, resume_from=-1) as writer:
        writer.spectrum(0, [[3.0], [4.0]])
        writer.end("completed")
    log = read_run(tmp_path / "run")
    assert log.values.tolist() == [3.0, 4.0]
    assert not log.notices


def test_words_that_are_no_text_and_numbers_of_numpy_are_written(tmp_path):
    with RunWriter(tmp_path / "run", HEADER) as writer:
        writer.note("edited", step=np.int64(3), new=np.float32(0.5), values=np.arange(2), path="name\udc80 λ\u2028")
        writer.flush()
        with pytest.raises(ValueError, match="record"):
            writer.note("edited", record="event")
        with pytest.raises(ValueError, match="true singular values"):
            writer.spectrum(1, [[1.0, 2.0], [3.0]], [[1.0], [2.0, 3.0]])
    log = read_run(tmp_path / "run")
    assert log.notes == [
        {"kind": "edited", "step": 3, "new": 0.5, "values": [0, 1], "path": "name\udc80 λ\u2028"},
    ]


def test_numbers_that_are_none_are_null_or_stay_what_was_trained(tmp_path):
    with RunWriter(tmp_path / "run", HEADER, fsync=True) as writer:
        writer.step(1, task_loss=float("nan"), loss=float("inf"), budget=None)
        writer.spectrum(1, [[float("nan"), 1.0], [float("inf")]])
        writer.eval(1, "test", {"accuracy": float("nan")})
    run = load_run(tmp_path / "run")
    assert all(np.isnan(run.log.steps[name][0]) for name in ("task_loss", "loss", "budget"))
    assert np.array_equal(run.log.values, np.array([np.nan, 1.0, np.inf], np.float32), equal_nan=True)
    assert np.isnan(run.entropy).all()
    assert np.isnan(run.energy).all()
    assert "test/accuracy" not in run.metrics


def test_runs_are_found_beside_folders_that_are_none(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    assert find_runs(tmp_path) == [folder]
    assert find_runs(tmp_path / "nowhere") == find_runs(tmp_path / "file") == []


FULL = """
import resource, signal, sys
from pathlib import Path
from flexlora.run_log import RunLogError, RunWriter, read_run
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
for limit in range(700, 9000, 331):
    folder = Path(sys.argv[1]) / str(limit)
    writer = None
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        writer = RunWriter(folder, {"matrices": [{"name": "a"}], "config": {}})
        for step in range(1, 1000):
            writer.step(step, task_loss=float(step))
            writer.spectrum(step, [[float(step)] * 8])
            writer.event(step, 1, {"spectral_entropy": {"a": 0.5}}, "spectral_entropy")
    except RunLogError as error:
        told = str(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    if writer is None:
        continue
    try:
        writer.close()
    except RunLogError:
        pass
    safe = int(told.split("up to step ")[1].split()[0])
    whole = list(range(1, safe + 1))
    for resumed in (False, True):
        log = read_run(folder)
        assert log.steps["task_loss"].tolist()[:safe] == log.spectra_steps.tolist()[:safe] == whole, (limit, told)
        assert [event["step"] for event in log.events][:safe] == whole
        if not resumed:
            with RunWriter(folder, {"matrices": [{"name": "a"}]}, resume_from=safe) as again:
                again.step(safe + 1)
    assert log.steps["step"].tolist() == [*whole, safe + 1]
    assert not log.notices, log.notices
print("opened all")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of this kind are POSIX")
def test_wherever_the_disk_fills_up_the_log_opens_up_to_the_safe_step_and_resumes(tmp_path):
    result = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=False)
    assert result.stdout == "opened all\n", result.stderr
    assert not result.stderr
