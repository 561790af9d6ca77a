"""The run log: what is written is read, what is damaged is told, what was flushed survives."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexlora.run_log import SCHEMA_VERSION, RunLogError, RunWriter, find_runs, read_run

MATRICES = [
    {"name": f"layer.{index}.query", "layer": index, "module_type": "query", "in_features": 8, "out_features": 6}
    for index in range(3)
]
HEADER = {"method": "flexlora", "preset": "paper", "task": "test", "config": {}, "matrices": MATRICES, "seed": 0}
NAMES = [matrix["name"] for matrix in MATRICES]
FILES = ("scalars.arrows", "spectra.arrows", "events.jsonl", "crc.jsonl")


def spectrum_of(step: int, ranks=(2, 3, 1)) -> list[np.ndarray]:
    return [np.linspace(step, -step, rank, dtype=np.float32) + index for index, rank in enumerate(ranks)]


def write_steps(writer: RunWriter, first: int, last: int, *, event_every: int = 5, flush_every: int = 3) -> None:
    for step in range(first, last + 1):
        writer.step(step, task_loss=1.0 / step, regularizer=0.1, loss=1.0 / step + 0.01, learning_rate=1e-3, budget=2)
        writer.spectrum(step, spectrum_of(step), spectrum_of(step) if step % 2 else None)
        if step % event_every == 0:
            scores = {"spectral_entropy": dict.fromkeys(NAMES, 0.5), "nuclear_norm": {NAMES[0]: None}}
            moves = [{"matrix": NAMES[1], "slot": 0, "singular_value": 0.5, "rules": []}]
            writer.event(step, 2, scores, "spectral_entropy", prune=moves, refused={NAMES[0]: "rank_1"})
        if step % flush_every == 0:
            writer.flush()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("log") / "finished"
    with RunWriter(folder, HEADER) as writer:
        writer.note("edited", step=1, key="initial_budget", old=8, new=float("nan"))
        write_steps(writer, 1, 30)
        writer.eval(30, "test", {"accuracy": 0.5}, samples=10, wall_s=0.1)
        writer.end("completed", wall_s=1.5)
    return folder


def same_content(left, right) -> bool:
    return (
        all(np.array_equal(left.steps[key], right.steps[key], equal_nan=True) for key in left.steps)
        and np.array_equal(left.spectra_steps, right.spectra_steps)
        and np.array_equal(left.ranks, right.ranks)
        and np.array_equal(left.values, right.values)
        and np.array_equal(left.true_values, right.true_values)
        and (left.events, left.evals, left.notes, left.end) == (right.events, right.evals, right.notes, right.end)
    )


def assert_prefix(part, whole) -> None:
    """What is read is what was written, record by record, never another number."""
    index = {int(step): row for row, step in enumerate(whole.spectra_steps)}
    width = whole.ranks.shape[1]
    for row, step in enumerate(part.spectra_steps.tolist()):
        origin = index[step]
        a, b = part.offsets[row * width], part.offsets[(row + 1) * width]
        c, d = whole.offsets[origin * width], whole.offsets[(origin + 1) * width]
        assert np.array_equal(part.values[a:b], whole.values[c:d])
    rows = {int(step): row for row, step in enumerate(whole.steps["step"])}
    for row, step in enumerate(part.steps["step"].tolist()):
        assert part.steps["task_loss"][row] == whole.steps["task_loss"][rows[step]]
    for kind in ("events", "evals", "notes"):
        assert all(record in getattr(whole, kind) for record in getattr(part, kind))


def test_what_is_written_is_read(finished):
    log = read_run(finished)
    assert (log.state, log.notices) == ("finished", [])
    assert log.header["schema"] == SCHEMA_VERSION
    assert log.header["name"] == "finished"
    assert log.steps["step"].tolist() == log.spectra_steps.tolist() == list(range(1, 31))
    assert np.isnan(log.steps["memory_bytes"]).all()
    assert log.ranks.tolist() == [[2, 3, 1]] * 30
    assert log.values.dtype == np.float32
    for row, step in enumerate(range(1, 31)):
        own = log.values[log.offsets[row * 3] : log.offsets[row * 3 + 3]]
        assert np.array_equal(own, np.concatenate(spectrum_of(step)))
        place = log.true_index[row]
        assert (place >= 0) == bool(step % 2)
        if place >= 0:
            assert np.array_equal(log.true_values[place : place + 6], own)
    assert [event["step"] for event in log.events] == [5, 10, 15, 20, 25, 30]
    assert log.events[0]["importance"]["nuclear_norm"] == dict.fromkeys(NAMES)
    assert log.notes[0]["new"] is None
    assert log.end == {"reason": "completed", "message": None, "wall_s": 1.5}
    assert find_runs(finished.parent) == [finished]


@given(
    st.lists(
        st.tuples(
            st.lists(st.lists(st.floats(width=32), min_size=1, max_size=5), min_size=2, max_size=2), st.booleans()
        ),
        max_size=12,
    )
)
def test_any_spectra_survive_the_round_trip(tmp_path_factory, records):
    folder = tmp_path_factory.mktemp("any") / "run"
    with RunWriter(folder, {**HEADER, "matrices": MATRICES[:2]}) as writer:
        for step, (spectra, flush) in enumerate(records):
            writer.spectrum(step, spectra)
            if flush:
                writer.flush()
    log = read_run(folder)
    assert log.ranks.tolist() == [[len(values) for values in spectra] for spectra, _ in records]
    flat = [value for spectra, _ in records for values in spectra for value in values]
    assert np.array_equal(log.values, np.array(flat, np.float32), equal_nan=True)


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_at_any_byte_opens_up_to_the_last_complete_record(finished, tmp_path, name):
    whole = read_run(finished)
    size = (finished / name).stat().st_size
    places = random.Random(name).sample(range(size), 60)
    counts = []
    for place in [0, *sorted(places), size]:
        folder = shutil.copytree(finished, tmp_path / f"cut{place}")
        os.truncate(folder / name, place)
        part = read_run(folder)
        assert_prefix(part, whole)
        counts.append(len(part.spectra_steps) + len(part.steps["step"]) + len(part.events))
    assert counts == sorted(counts)
    assert counts[-1] == 30 + 30 + 6


@pytest.mark.parametrize("name", [*FILES, "run.json"])
def test_a_flipped_byte_never_changes_a_number_silently(finished, tmp_path, name):
    whole = read_run(finished)
    folder = shutil.copytree(finished, tmp_path / "flipped")
    content = (finished / name).read_bytes()
    generator = random.Random(name)
    told = 0
    for place in generator.sample(range(len(content)), 150):
        flipped = bytearray(content)
        flipped[place] ^= 1 << generator.randrange(8)
        (folder / name).write_bytes(flipped)
        try:
            part = read_run(folder)
        except RunLogError as error:
            assert "\n" not in str(error)
            told += 1
            continue
        told += bool(part.notices)
        if name == "run.json" and part.notices:
            # A changed matrix name renames the keys of the events too; the notice says so.
            continue
        assert_prefix(part, whole)
        assert part.notices or (same_content(part, whole) and part.header == whole.header)
    assert told > 100


def test_random_garbage_raises_only_run_log_errors(finished, tmp_path):
    generator = random.Random(4)
    folder = shutil.copytree(finished, tmp_path / "garbage")
    for _ in range(150):
        name = generator.choice([*FILES, "run.json", "heartbeat.json"])
        original = (folder / name).read_bytes()
        (folder / name).write_bytes(generator.randbytes(generator.randrange(400)))
        with contextlib.suppress(RunLogError):
            read_run(folder)
        (folder / name).write_bytes(original)


def test_a_forged_checksum_line_cannot_make_the_reader_allocate(finished, tmp_path):
    from flexlora.run_log.format import Chunk

    folder = shutil.copytree(finished, tmp_path / "forged")
    forged = Chunk("spectra.arrows", 0, "batch", 0, 1 << 60, 0, 1, 2).line()
    with (folder / "crc.jsonl").open("ab") as file:
        file.write(forged)
    assert any("cut" in notice for notice in read_run(folder).notices)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: path.mkdir(), "has no run.json"),
        (lambda path: None, "does not exist"),
        (lambda path: path.write_text("x"), "is a file"),
        (lambda path: (path.mkdir(), (path / "run.json").write_text("")), "damaged"),
        (lambda path: (path.mkdir(), (path / "run.json").write_text("[]")), "damaged"),
        (lambda path: (path.mkdir(), (path / "run.json").write_text('{"header": {"schema": 1}}')), "damaged"),
        (
            lambda path: (
                path.mkdir(),
                (path / "run.json").write_text('{"header": {"schema": 2, "matrices": [{"name": "a"}]}}'),
            ),
            "schema 2, this version reads 1: update flexlora-lab",
        ),
        (
            lambda path: (path.mkdir(), (path / "run.json").write_text('{"header": {"schema": 1, "matrices": []}}')),
            "names no matrices",
        ),
    ],
)
def test_what_is_no_run_gets_one_clear_line(tmp_path, make, says):
    make(tmp_path / "thing")
    with pytest.raises(RunLogError, match=says) as caught:
        read_run(tmp_path / "thing")
    assert "\n" not in str(caught.value)


def test_a_run_without_records_opens(tmp_path):
    RunWriter(tmp_path / "empty", HEADER).close()
    log = read_run(tmp_path / "empty")
    assert log.ranks.shape == (0, 3)
    assert not log.notices


def test_a_folder_that_holds_a_run_is_not_overwritten(finished):
    before = {name: (finished / name).read_bytes() for name in FILES}
    with pytest.raises(RunLogError, match="holds a run already"):
        RunWriter(finished, HEADER)
    assert before == {name: (finished / name).read_bytes() for name in FILES}


def test_resuming_voids_the_later_records_of_earlier_starts(tmp_path):
    folder = tmp_path / "run"
    with RunWriter(folder, HEADER) as writer:
        write_steps(writer, 1, 12)
        writer.end("stopped")
    with RunWriter(folder, HEADER, resume_from=7) as writer:
        write_steps(writer, 8, 9)
    with RunWriter(folder, HEADER, resume_from=8) as writer:
        write_steps(writer, 9, 20)
        writer.end("completed")
    log = read_run(folder)
    assert log.state == "finished"
    assert log.spectra_steps.tolist() == log.steps["step"].tolist() == list(range(1, 21))
    assert [event["step"] for event in log.events] == [5, 10, 15, 20]
    assert [note["resumed_from"] for note in log.notes] == [7, 8]
    assert not log.notices


def test_resuming_a_torn_log_cuts_the_torn_records_off(tmp_path):
    folder = tmp_path / "run"
    with RunWriter(folder, HEADER) as writer:
        write_steps(writer, 1, 12)
    for name in FILES:
        path = folder / name
        os.truncate(path, path.stat().st_size - 7)
    with RunWriter(folder, HEADER, resume_from=6) as writer:
        write_steps(writer, 7, 15)
        writer.end("completed")
    log = read_run(folder)
    assert log.spectra_steps.tolist() == list(range(1, 16))
    assert [event["step"] for event in log.events] == [5, 10, 15]
    assert not log.notices


def test_a_record_reaches_the_disk_within_a_second_without_a_further_call(tmp_path):
    writer = RunWriter(tmp_path / "run", HEADER)
    writer.step(1, task_loss=1.0)
    deadline = time.monotonic() + 1.0
    while not len(read_run(tmp_path / "run").steps["step"]):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert read_run(tmp_path / "run").state == "running"
    writer.close()


def test_without_a_live_process_or_a_fresh_heartbeat_an_unfinished_run_has_crashed(tmp_path):
    folder = tmp_path / "run"
    RunWriter(folder, HEADER).close()
    assert read_run(folder).state == "running"
    (folder / "heartbeat.json").write_text(json.dumps({"pid": os.getpid(), "unix_s": time.time() - 60}))
    assert read_run(folder).state == "crashed"
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (folder / "heartbeat.json").write_text(json.dumps({"pid": ended.pid, "unix_s": time.time()}))
    assert read_run(folder).state == "crashed"
    (folder / "heartbeat.json").unlink()
    assert read_run(folder).state == "crashed"


def test_misuse_by_the_writer_is_a_value_error(tmp_path):
    with RunWriter(tmp_path / "run", HEADER) as writer:
        writer.step(3, task_loss=1.0)
        with pytest.raises(ValueError, match="forward"):
            writer.step(3, task_loss=1.0)
        with pytest.raises(ValueError, match="2 matrices, the header 3"):
            writer.spectrum(1, spectrum_of(1)[:2])
        with pytest.raises(ValueError, match="true singular values"):
            writer.spectrum(1, spectrum_of(1), [[1.0]] * 3)
    with pytest.raises(ValueError, match="closed"):
        writer.step(4, task_loss=1.0)


CHILD = """
import sys
from flexlora.run_log import RunWriter
assert "torch" not in sys.modules
names = [f"m{index}" for index in range(24)]
header = {"matrices": [{"name": name} for name in names], "config": {}}
writer = RunWriter(sys.argv[1], header)
print("ready", flush=True)
step = 0
import time
while True:
    step += 1
    writer.step(step, task_loss=float(step))
    writer.spectrum(step, [[float(step)] * 8 for _ in names])
    if step % 20 == 0:
        writer.event(step, 1, {"spectral_entropy": dict.fromkeys(names, 0.5)}, "spectral_entropy")
        print(step, time.time(), flush=True)
    time.sleep(0.002)
"""


def test_a_killed_writer_loses_at_most_a_second_or_an_event(tmp_path):
    generator = random.Random(1)
    for attempt in range(8):
        folder = tmp_path / f"run{attempt}"
        with subprocess.Popen([sys.executable, "-c", CHILD, str(folder)], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "ready\n"
            time.sleep(generator.uniform(0.05, 0.6))
            process.send_signal(signal.SIGKILL)
            told = process.stdout.read().splitlines()
        log = read_run(folder)
        flushed = int(told[-1].split()[0]) if told else 0
        assert log.state == "crashed"
        assert len(log.spectra_steps) >= flushed
        assert len(log.steps["step"]) >= flushed
        assert len(log.events) >= flushed // 20
        assert log.spectra_steps.tolist() == list(range(1, len(log.spectra_steps) + 1))
        assert log.steps["task_loss"].tolist() == log.steps["step"].tolist()


FULL = """
import resource, signal, sys
from flexlora.run_log import RunLogError, RunWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
writer = RunWriter(sys.argv[1], {"matrices": [{"name": "a"}], "config": {}})
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
try:
    for step in range(1, 100000):
        writer.step(step, task_loss=float(step))
        writer.spectrum(step, [[float(step)] * 8])
        if step % 5 == 0:
            writer.flush()
except RunLogError as error:
    print(error)
    sys.exit(2)
"""


def test_a_full_disk_ends_with_one_line_and_a_log_that_opens(tmp_path):
    result = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "run")], capture_output=True, text=True, check=False
    )
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    assert "cannot be written" in result.stdout
    safe = int(result.stdout.split("up to step ")[1].split()[0])
    log = read_run(tmp_path / "run")
    assert safe > 0
    assert log.steps["task_loss"][:safe].tolist() == list(range(1, safe + 1))
