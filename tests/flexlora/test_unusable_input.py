"""What a loop or a disk gives that cannot be used is told in one line, and what was there before stays."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors import SafetensorError
from torch import nn

from flexlora import FlexLoRAConfig, adapter_files, attach
from flexlora.adapter_files import load_adapter
from flexlora.errors import FlexLoRAError
from flexlora.export import main as export
from flexlora.integrations import Recorder
from flexlora.run_log import read_run


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 16))


def adapted():
    return attach(net(), FlexLoRAConfig(initial_rank=2, total_steps=20, warmup_steps=10))


@pytest.fixture
def recorder(tmp_path):
    adapter = adapted()
    optimizer = torch.optim.AdamW(adapter.trainable_parameters())
    with Recorder(adapter, optimizer, adapter.config, tmp_path / "run") as made:
        yield made


@pytest.mark.parametrize("folder", [True, False])
@pytest.mark.parametrize(
    ("t", "loss", "regularizer", "told"),
    [
        (0, 1.0, 1.0, r"step\(0\) came after step 0"),
        (1, 1.0, None, "regularizer=None: pass what"),
        (1, torch.ones(3), 1.0, r"task_loss has shape \(3,\)"),
        (1, "much", 1.0, "task_loss is 'much'"),
        (1, 1.0, torch.ones(2), r"regularizer has shape \(2,\)"),
    ],
)
def test_a_step_that_cannot_be_recorded_is_told_at_once(t, loss, regularizer, told, folder, tmp_path):
    adapter = adapted()
    optimizer = torch.optim.AdamW(adapter.trainable_parameters())
    recorder = Recorder(adapter, optimizer, adapter.config, tmp_path / "run" if folder else None)
    with pytest.raises(FlexLoRAError, match=told):
        recorder.step(t, loss, regularizer)
    recorder.close()


def test_numbers_of_any_kind_are_recorded_and_each_step_once(recorder, tmp_path):
    recorder.step(1, torch.ones(1), torch.ones(1, 1))
    recorder.step(2, 2, 0.5)
    for t in (2, 1):
        with pytest.raises(FlexLoRAError, match=rf"step\({t}\) came after step 2"):
            recorder.step(t, 1.0, 1.0)
    recorder.step(3, None, torch.tensor(0.25))
    recorder.close()
    with pytest.raises(FlexLoRAError, match="was closed"):
        recorder.step(4, 1.0, 1.0)
    steps = read_run(tmp_path / "run").steps
    assert list(steps["step"]) == [1, 2, 3] and list(steps["regularizer"]) == [1.0, 0.5, 0.25]


WRITES = {
    "save": lambda adapter, folder: adapter.save(folder),
    "export": lambda adapter, folder: adapter.export_peft(folder),
}


def full(tensors, path, metadata=None):
    path.write_bytes(b"half")
    raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


@pytest.mark.parametrize("write", WRITES)
def test_a_disk_that_cannot_be_written_is_told_in_one_line(write, tmp_path, monkeypatch):
    adapter = adapted()
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / ("x" * 300)):
        with pytest.raises(FlexLoRAError, match="cannot be written") as told:
            WRITES[write](adapter, place)
        assert "\n" not in str(told.value) and isinstance(told.value, OSError)
    WRITES[write](adapter, tmp_path / "kept")
    before = {path.name: path.read_bytes() for path in (tmp_path / "kept").iterdir()}
    with monkeypatch.context() as patched:
        patched.setattr(adapter_files, "save_file", full)
        with pytest.raises(FlexLoRAError, match="No space left"):
            WRITES[write](adapter, tmp_path / "kept")
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "kept").iterdir()}
    assert (tmp_path / "file").read_text() == "mine"


def test_the_command_tells_of_a_full_disk(tmp_path, monkeypatch, capsys):
    adapted().save(tmp_path / "own")
    monkeypatch.setattr(adapter_files, "save_file", full)
    assert export([str(tmp_path / "own"), "--out", str(tmp_path / "peft"), "--json"]) == 2
    assert "No space left" in json.loads(capsys.readouterr().out)["error"]
    load_adapter(net(), tmp_path / "own")
