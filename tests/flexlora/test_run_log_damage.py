"""What hurts a run log from outside: flipped bytes, damage before a resume, forged files."""

from __future__ import annotations

import contextlib
import json
import random
import threading
import time

import pytest

from analysis.runs import load_run
from flexlora.run_log import RunLogError, RunWriter, glance_run, read_run
from flexlora.run_log.format import Chunk, canonical, checksum

NAMES = ["a", "b"]
HEADER = {"config": {}, "matrices": [{"name": name, "layer": 0, "in_features": 8} for name in NAMES]}
DATA = ("scalars.arrows", "spectra.arrows", "events.jsonl")


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


def chunks_of(folder) -> list[Chunk]:
    return [chunk for line in (folder / "crc.jsonl").read_bytes().splitlines() if (chunk := Chunk.parse(line))]


def forge(folder, header) -> None:
    document = {"crc32": checksum(canonical(header)), "header": header}
    (folder / "run.json").write_text(json.dumps(document))


def test_every_flip_in_the_last_checksum_lines_is_told(folder):
    path = folder / "crc.jsonl"
    content = path.read_bytes()
    begin = len(content) - len(b"".join(content.splitlines(keepends=True)[-2:]))
    for place in range(begin, len(content)):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        assert read_run(folder).notices, place


@pytest.mark.parametrize("name", DATA[:2])
def test_records_that_are_missing_side_by_side_are_one_line_and_a_glance_tells_the_cut(tmp_path, name):
    with RunWriter(tmp_path / "run", HEADER) as writer:
        for step in range(1, 10):
            write_steps(writer, step, step)
            writer.flush()
        writer.end("completed")
    assert not glance_run(tmp_path / "run").notices
    path = tmp_path / "run" / name
    third = [chunk for chunk in chunks_of(tmp_path / "run") if chunk.file == name and chunk.kind == "batch"][2]
    path.write_bytes(path.read_bytes()[: third.offset + third.length + 5])
    assert [told for told in read_run(tmp_path / "run").notices if "is cut" in told] == [
        f"{name} is cut: records of steps 4 to 9 are missing."
    ]
    assert glance_run(tmp_path / "run").notices == [f"{name} is cut: records at its end are missing."]


@pytest.mark.parametrize("name", DATA)
def test_bytes_that_no_checksum_vouches_for_are_told_once_nobody_writes(folder, name):
    with (folder / name).open("ab") as file:
        file.write(b"torn")
    assert [notice for notice in read_run(folder).notices if name in notice and "4 bytes" in notice]


def test_a_log_without_its_checksums_says_so(folder):
    (folder / "crc.jsonl").unlink()
    log = read_run(folder)
    assert len(log.spectra_steps) == 0
    assert len(log.notices) == len(DATA)


def test_a_flush_under_way_in_a_live_log_is_no_damage(tmp_path):
    with RunWriter(tmp_path / "run", HEADER) as writer:
        write_steps(writer, 1, 2)
        with (tmp_path / "run" / "scalars.arrows").open("ab") as file:
            file.write(b"half a flush")
        log = read_run(tmp_path / "run")
    assert (log.state, log.notices) == ("running", [])


@pytest.mark.parametrize("name", DATA)
def test_damage_before_a_resume_is_still_told_after_it(folder, name):
    chunk = next(c for c in chunks_of(folder) if c.file == name and c.first_step == 2)
    content = bytearray((folder / name).read_bytes())
    content[chunk.offset + chunk.length // 2] ^= 255
    (folder / name).write_bytes(content)
    before = read_run(folder).notices
    for start in (4, 5):
        with RunWriter(folder, HEADER, resume_from=start) as writer:
            write_steps(writer, start + 1, 8)
            writer.end("completed")
        assert read_run(folder).notices == before != []
    with RunWriter(folder, HEADER, resume_from=1) as writer:
        write_steps(writer, 2, 8)
        writer.end("completed")
    log = read_run(folder)
    assert log.notices == []
    assert log.spectra_steps.tolist() == [event["step"] for event in log.events] == list(range(1, 9))


def test_bytes_are_read_once_however_often_they_are_vouched_for(folder):
    whole = read_run(folder)
    lines = (folder / "crc.jsonl").read_bytes()
    (folder / "crc.jsonl").write_bytes(lines * 3)
    log = read_run(folder)
    assert log.spectra_steps.tolist() == whole.spectra_steps.tolist()
    assert log.events == whole.events
    assert any("vouches twice" in notice for notice in log.notices)


@pytest.mark.parametrize(
    "change",
    [
        {"offset": -4},
        {"offset": "0"},
        {"length": 1 << 70},
        {"length": None},
        {"file": ["scalars.arrows"]},
        {"file": "../../etc/passwd"},
        {"kind": 5},
        {"segment": "x"},
        {"first_step": "x"},
        {"first_step": [1]},
    ],
)
def test_a_forged_checksum_line_harms_nothing(folder, change):
    whole = read_run(folder)
    values = {**chunks_of(folder)[-1].__dict__, **change}
    line = json.dumps({**values, "line_crc32": checksum(canonical(values))})
    with (folder / "crc.jsonl").open("a") as file:
        file.write(f"{line}\n")
    log = read_run(folder)
    assert log.events == whole.events
    with RunWriter(folder, HEADER, resume_from=6) as writer:
        write_steps(writer, 7, 7)
        writer.end("completed")
    assert read_run(folder).spectra_steps.tolist() == list(range(1, 8))


@pytest.mark.parametrize("name", ["run.json", "crc.jsonl", "heartbeat.json"])
def test_json_of_endless_depth_is_damage_like_any_other(folder, name):
    with RunWriter(folder, HEADER, resume_from=6) as writer:
        write_steps(writer, 7, 7)
    (folder / name).write_text("[" * 200_000 + "\n")
    with contextlib.suppress(RunLogError):
        assert len(read_run(folder).spectra_steps) in (0, 7)


@pytest.mark.parametrize(
    "beat",
    [
        {"pid": 10**30, "unix_s": "now"},
        {"pid": "x", "unix_s": "now"},
        {"pid": float("inf"), "unix_s": "now"},
        {"pid": 1, "unix_s": 10**400},
        {"pid": 1, "unix_s": 1e300},
        {"pid": 1, "unix_s": float("nan")},
        [],
        "x",
    ],
)
def test_a_forged_heartbeat_belongs_to_a_crashed_run(tmp_path, beat):
    RunWriter(tmp_path / "run", HEADER).close()
    if isinstance(beat, dict) and beat["unix_s"] == "now":
        beat["unix_s"] = time.time()
    (tmp_path / "run" / "heartbeat.json").write_text(json.dumps(beat))
    assert read_run(tmp_path / "run").state == "crashed"


BAD_HEADERS = [
    {"matrices": "a"},
    {"matrices": [1]},
    {"matrices": []},
    {"matrices": [{"name": ["a"]}]},
    {"matrices": [{"name": "a"}, {"name": "a"}]},
    {"matrices": [{"name": "a", "in_features": "many\nlines"}]},
    {"matrices": [{"name": "a", "layer": "x"}]},
    {"matrices": [{"name": "a", "module_type": 3}]},
    {"matrices": [{"name": "a"}], "config": [1]},
    {},
]


@pytest.mark.parametrize("header", BAD_HEADERS)
def test_a_header_that_describes_no_run_is_refused_on_both_sides_of_the_log(folder, tmp_path, header):
    forge(folder, {"schema": 1, **header})
    with pytest.raises(RunLogError) as caught:
        load_run(folder)
    assert "\n" not in str(caught.value)
    before = threading.active_count()
    with pytest.raises(RunLogError):
        RunWriter(tmp_path / "new", header)
    assert not (tmp_path / "new").exists()
    assert threading.active_count() == before


def test_arrow_bytes_with_forged_checksums_raise_only_run_log_errors(folder):
    generator = random.Random(3)
    chunks = chunks_of(folder)
    refused = 0
    for _ in range(300):
        name = generator.choice(DATA)
        original = (folder / name).read_bytes()
        content = bytearray(original)
        for _ in range(generator.choice((1, 2, 8))):
            content[generator.randrange(len(content))] = generator.randrange(256)
        (folder / name).write_bytes(content)
        sealed = []
        for chunk in chunks:
            data = (folder / chunk.file).read_bytes()[chunk.offset : chunk.offset + chunk.length]
            sealed.append(Chunk(**{**chunk.__dict__, "crc32": checksum(data)}).line())
        (folder / "crc.jsonl").write_bytes(b"".join(sealed))
        try:
            load_run(folder)
        except RunLogError as error:
            refused += 1
            assert "\n" not in str(error)
        (folder / name).write_bytes(original)
    assert refused > 100
