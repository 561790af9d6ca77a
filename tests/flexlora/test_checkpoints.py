"""A checkpoint that is damaged is noticed, said, and never trained from."""

from __future__ import annotations

import json
import random
import shutil

import pytest
import torch
from mortal import bury, differences
from safetensors.torch import save_file

from flexlora.checkpoint import FILE, OLDER, find_checkpoint
from flexlora.controls import Controls
from flexlora.job import build_job
from flexlora.loop import run_job
from flexlora.run_log import read_run
from flexlora.train import main

STEPS, EARLY, EDIT_AT, STOP = 12, 5, 8, 9
SETTINGS = {
    "batch_size": 4, "eval_samples": 8, "target_modules": "q_proj", "eval_interval": 6, "interval": 2,
    "warmup_steps": 2, "final_steps": 3, "initial_rank": 3, "schedule": "constant", "initial_budget": 4,
    "checkpoint_interval_s": 0,
}  # fmt: skip
JOB = build_job("digits", "flexlora", None, STEPS, 1, SETTINGS)


def train(folder, last=STEPS, **more):
    """Train with an edit on the way, from where the run is, to its end or until the process dies after a step."""
    controls = Controls()

    def progress(step, _result) -> None:
        if step == EDIT_AT and not more.get("resume"):
            controls.send({"command": "set", "values": {"initial_budget": 1}})
        if step == EARLY:
            shutil.copy(folder / "checkpoint" / FILE, folder.with_name("early"))
        if step == last < STEPS:
            raise MemoryError("dies")

    try:
        return run_job(JOB, folder, controls=controls, progress=progress, **more)
    except MemoryError:
        bury(folder)
        return None


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(folder)
    return read_run(folder)


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """Dead with two whole checkpoints, between which an edit was made."""
    folder = tmp_path_factory.mktemp("killed") / "run"
    train(folder, STOP)
    folder.with_name("early").replace(folder / "checkpoint" / OLDER)
    found, faults = find_checkpoint(folder / "checkpoint")
    assert found is not None and not faults
    assert found.state["step"] == STOP
    return folder


def cut(data: bytes) -> bytes:
    return data[: len(data) * 2 // 3]


def flipped(data: bytes) -> bytes:
    place = len(data) - 1000
    return data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :]


DAMAGES = {"cut": cut, "emptied": lambda _: b"", "garbage": lambda data: b"\xc3" * len(data), "flipped": flipped}


def damage(path, how):
    path.write_bytes(DAMAGES[how](path.read_bytes()))


def test_no_flipped_bit_and_no_cut_passes_for_a_checkpoint(killed, tmp_path):
    whole = (killed / "checkpoint" / FILE).read_bytes()
    found, _ = find_checkpoint(killed / "checkpoint")
    header = int.from_bytes(whole[:8], "little")
    draw = random.Random(0)
    # The description of the tensors stands first, and is the part that a reader believes.
    places = [*range(8), *draw.sample(range(8, header + 8), 60), *draw.sample(range(header + 8, len(whole)), 40)]
    harmless = 0
    for place in places:
        (tmp_path / FILE).write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        other, faults = find_checkpoint(tmp_path)
        assert (other is None) == bool(faults)
        assert all("\n" not in why and why for why in faults.values())
        if other is not None:
            # A space of the description, or the name of the checksum.
            harmless += 1
            assert other.state == found.state and other.tensors.keys() == found.tensors.keys()
            assert all(torch.equal(tensor, found.tensors[name]) for name, tensor in other.tensors.items())
    assert harmless < 5
    for length in [*range(64), *draw.sample(range(64, len(whole)), 20)]:
        (tmp_path / FILE).write_bytes(whole[:length])
        assert find_checkpoint(tmp_path)[0] is None


@pytest.mark.parametrize("how", DAMAGES)
def test_a_checkpoint_of_any_damage_is_passed_over(how, killed, tmp_path):
    folder = shutil.copytree(killed / "checkpoint", tmp_path / "checkpoint")
    damage(folder / FILE, how)
    found, faults = find_checkpoint(folder)
    assert (found.path.name, found.state["step"], list(faults)) == (OLDER, EARLY, [folder / FILE])


def test_a_damaged_checkpoint_is_told_and_the_one_before_it_taken(killed, whole, tmp_path, capsys):
    folder = shutil.copytree(killed, tmp_path / "run")
    damage(folder / "checkpoint" / FILE, "cut")
    assert main(["--resume", "--out", str(folder)]) == 0
    [line] = [line for line in capsys.readouterr().err.splitlines() if "is damaged" in line]
    assert f"{FILE} is damaged: " in line and f"Resumed from step {EARLY}, from {OLDER}." in line
    log = read_run(folder)
    told = [(note["step"], note["message"]) for note in log.notes if note["kind"] == "checkpoint_damaged"]
    assert told == [(EARLY, line)]
    assert differences(whole, log) == []
    assert list((folder / "checkpoint").iterdir()) == []


def test_without_a_whole_checkpoint_a_run_begins_anew_and_says_so(killed, whole, tmp_path):
    for name, names in {"damaged": (FILE, OLDER), "missing": ()}.items():
        folder = shutil.copytree(killed, tmp_path / name)
        for file in (FILE, OLDER):
            if file in names:
                damage(folder / "checkpoint" / file, "flipped")
            else:
                (folder / "checkpoint" / file).unlink()
        told = []
        train(folder, resume=True, report=told.append)
        [line] = told
        assert line.count("is damaged: its checksum does not fit") == len(names) and "begins anew" in line
        log = read_run(folder)
        assert len([note for note in log.notes if note["kind"] == "checkpoint_damaged"]) == bool(names)
        assert differences(whole, log) == []


def test_a_run_that_went_back_and_dies_again_forgets_no_edit_and_takes_no_later_checkpoint(killed, whole, tmp_path):
    folder = shutil.copytree(killed, tmp_path / "run")
    later = (folder / "checkpoint" / FILE).read_bytes()
    damage(folder / "checkpoint" / FILE, "cut")
    # Dies before the edit is made again.
    train(folder, EDIT_AT - 1, resume=True)
    files = {path.name: path.read_bytes() for path in (folder / "checkpoint").iterdir()}
    assert files and later not in files.values() and cut(later) not in files.values()
    train(folder, resume=True)
    assert differences(whole, read_run(folder)) == []


def test_a_checkpoint_of_an_older_version_has_no_checksum_and_is_taken(killed, whole, tmp_path):
    folder = shutil.copytree(killed, tmp_path / "run")
    found, _ = find_checkpoint(folder / "checkpoint")
    save_file(found.tensors, folder / "checkpoint" / FILE, metadata={"state": json.dumps(found.state)})
    told = []
    train(folder, resume=True, report=told.append)
    assert told == [f"Resumed from step {found.state['step']}, from {FILE}."]
    assert differences(whole, read_run(folder)) == []
