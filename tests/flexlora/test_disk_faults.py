"""Every operation on the files of a run fails, is cut short, or is the last thing that its process does."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
from mortal import DEATHS, FAULTS, Died, Fate, bury, differences

from flexlora.run_log import RunLogError, RunWriter, disk, read_run

HEADER = {"matrices": [{"name": "a"}, {"name": "b"}], "config": {}, "seed": 0}
LAST = 5
OPERATIONS = 60
"""No fewer than one run makes; each of them comes with a fault below."""


def train(folder) -> None:
    """A run without a model: steps, events, checkpoints, an adapter, an end; begun, or gone on with."""
    state = folder / "state.json"
    start = None
    if (folder / "run.json").exists():
        start = json.loads(state.read_text())["step"] if state.exists() else -1
    with RunWriter(folder, HEADER, resume_from=start, fsync=True, flush_interval_s=1e9) as writer:
        step = max(start or 0, 0)
        if not step:
            writer.spectrum(0, [[0.0], [0.0, 0.0]])
        while step < LAST:
            step += 1
            writer.step(step, task_loss=1.0 / step, learning_rate=0.1)
            writer.spectrum(step, [[step], [step, -step]], [[step], [step, step]])
            if step % 4 == 0:
                writer.event(step, 1, {"spectral_entropy": {"a": 0.5}}, "spectral_entropy")
            if step % 3 == 0:
                now = json.dumps({"step": step}).encode()
                writer.checkpoint(lambda now=now: disk.put_bytes(state, now))
        writer.eval(step, "test", {"accuracy": 0.5})
        disk.make_folder(folder / "adapter")
        disk.put_bytes(folder / "adapter" / "weights", b"weights")
        writer.end("completed")
    disk.remove(state)


@pytest.fixture(autouse=True)
def no_later_heartbeats(monkeypatch):
    """On a slow disk there would be more operations than one run makes."""
    monkeypatch.setattr("flexlora.run_log.writer.HEARTBEAT_INTERVAL_S", 1e9)


def lived(folder, fate, monkeypatch) -> str | None:
    """Train under a fate; return why the run ended early, None when it did not."""
    with monkeypatch.context() as patched:
        patched.setattr(disk, "perform", fate.perform)
        try:
            train(folder)
        except Died:
            bury(folder)
            return "died"
        except (RunLogError, OSError) as error:
            return str(error)
    return None


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(folder)
    return read_run(folder)


def test_the_faults_below_reach_every_operation(tmp_path, monkeypatch):
    fate = Fate()
    assert lived(tmp_path / "run", fate, monkeypatch) is None
    assert OPERATIONS - 8 < fate.count <= OPERATIONS


def check_fault(folder, at, fault, whole, monkeypatch) -> None:
    fate = Fate(at, fault)
    why = lived(folder, fate, monkeypatch)
    what = (at, fault, fate.struck, why)
    if why is None:
        # A short write, a heartbeat or a removal that failed, or an operation that was not reached.
        assert differences(whole, read_run(folder)) == [], what
        return
    assert "\n" not in why and (fault in DEATHS or "the disk fails" in why), what
    if (folder / "run.json").exists():
        part = read_run(folder)
        assert np.array_equal(part.steps["step"], whole.steps["step"][: len(part.steps["step"])]), what
        assert part.values.tolist() == whole.values[: len(part.values)].tolist(), what
        assert part.state in ("crashed", "running", "finished"), what
        if part.state == "finished":
            return
    train(folder)
    assert differences(whole, read_run(folder)) == [], what


# To die before an operation is to die after the one before.
@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault != "dies before"])
def test_a_run_survives_this_fault_at_every_operation(fault, tmp_path, whole, monkeypatch):
    for at in range(1, OPERATIONS + 1):
        check_fault(tmp_path / str(at), at, fault, whole, monkeypatch)


def test_a_run_survives_several_faults_on_its_way(tmp_path, whole, monkeypatch):
    seed = random.SystemRandom().randrange(1 << 32)
    draw = random.Random(seed)
    for number in range(60):
        folder = tmp_path / str(number)
        for _ in range(draw.randint(2, 4)):
            lived(folder, Fate(draw.randint(1, OPERATIONS), draw.choice(FAULTS)), monkeypatch)
            if (folder / "run.json").exists() and read_run(folder).state == "finished":
                break
        else:
            train(folder)
        assert differences(whole, read_run(folder)) == [], (seed, number)


def test_a_checkpoint_is_never_ahead_of_what_is_on_disk(tmp_path, monkeypatch):
    """Whenever the file of a checkpoint appears, a reader of that moment finds every record up to it."""
    seen = []

    def perform(kind, path, act, *given):
        if kind == "replace" and path.name == "state.json":
            step = json.loads(path.with_name("state.json.tmp").read_bytes())["step"]
            log = read_run(tmp_path / "run")
            seen.append((step, log.steps["step"][-1], log.spectra_steps[-1]))
        return act(*given)

    monkeypatch.setattr(disk, "perform", perform)
    train(tmp_path / "run")
    assert seen == [(step, step, step) for step in (3,)]


def test_a_hole_that_an_old_log_has_is_named(tmp_path):
    folder = tmp_path / "run"
    with RunWriter(folder, HEADER) as writer:
        for step in (1, 2, 3):
            writer.step(step, task_loss=1.0)
            writer.spectrum(step, [[1.0], [1.0, 2.0]])
    with RunWriter(folder, HEADER, resume_from=5) as writer:
        for step in (6, 7):
            writer.step(step, task_loss=1.0)
            writer.spectrum(step, [[1.0], [1.0, 2.0]])
        writer.end("completed")
    log = read_run(folder)
    assert log.steps["step"].tolist() == [1, 2, 3, 6, 7]
    missing = [notice for notice in log.notices if "steps 4 to 5 are missing" in notice]
    assert [notice.split()[0] for notice in missing] == ["scalars.arrows", "spectra.arrows"]


def beat_of(run, **changes) -> None:
    path = run / "heartbeat.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.fixture
def no_locks(monkeypatch):
    """A file system whose locks nobody can trust."""
    monkeypatch.setattr(disk, "is_locked_elsewhere", lambda handle: False)


@pytest.mark.usefixtures("no_locks")
class TestWithoutLocks:
    def test_a_second_writer_is_refused_however_old_the_heartbeat(self, tmp_path):
        with RunWriter(tmp_path / "run", HEADER) as writer:
            writer.step(1, task_loss=1.0)
            writer.flush()
            beat_of(tmp_path / "run", unix_s=0)
            assert read_run(tmp_path / "run").state == "running"
            with pytest.raises(RunLogError, match="by this very process"):
                RunWriter(tmp_path / "run", HEADER, resume_from=1)
            writer.step(2, task_loss=1.0)
        assert read_run(tmp_path / "run").steps["step"].tolist() == [1, 2]

    @pytest.mark.parametrize(
        "changes",
        [
            {"started": "1 another"},
            {"folder": 1, "unix_s": 0},
            {"released": True},
            {"pid": 2**22 + 1},
            {"host": "elsewhere", "unix_s": 0},
        ],
    )
    def test_a_number_that_another_process_has_by_now_or_a_copy_of_the_folder_is_no_writer(self, changes, tmp_path):
        writer = RunWriter(tmp_path / "run", HEADER)
        writer._files.leave()
        beat_of(tmp_path / "run", **changes)
        RunWriter(tmp_path / "run", HEADER, resume_from=-1).close()
        writer._closed.set()

    def test_the_first_of_two_writers_stops_when_it_wakes(self, tmp_path, whole):
        """Suspended on another machine for longer than a heartbeat: nothing tells the second one of the first."""
        folder = tmp_path / "run"
        first = RunWriter(folder, HEADER, flush_interval_s=1e9)
        first.spectrum(0, [[0.0], [0.0, 0.0]])
        first.step(1, task_loss=1.0, learning_rate=0.1)
        first.flush()
        first.step(2, task_loss=7.0)
        beat_of(folder, host="elsewhere", unix_s=0)
        second = RunWriter(folder, HEADER, resume_from=-1, flush_interval_s=1e9)
        with pytest.raises(RunLogError, match="another one goes on with the run"):
            first.flush()
        with pytest.raises(RunLogError, match="another one goes on with the run"):
            first.close()
        second.close()
        train(folder)
        assert differences(whole, read_run(folder)) == []

    def test_what_a_woken_writer_still_appends_belongs_to_nobody(self, tmp_path):
        """It was suspended between its look at the log and its write: the one moment that nothing can watch."""
        folder = tmp_path / "run"
        first = RunWriter(folder, HEADER, flush_interval_s=1e9)
        beat_of(folder, host="elsewhere", unix_s=0)
        with RunWriter(folder, HEADER, resume_from=-1, flush_interval_s=1e9) as second:
            first._files.as_left = lambda: True
            for step in range(1, 9):
                for writer, loss in ((first, 7.0), (second, 1.0)):
                    writer.step(step, task_loss=loss)
                    writer.spectrum(step, [[loss], [loss, loss]])
                    writer.flush()
            second.end("completed")
        first._closed.set()
        first._files.leave()
        log = read_run(folder)
        assert log.steps["task_loss"].tolist() == [1.0] * 8 and log.values.tolist() == [1.0] * 24
        assert log.state == "finished" and not log.notices
