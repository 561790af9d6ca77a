"""``flexlora export``: what training left becomes a PEFT adapter, tensor for tensor that of the live model."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import Trainer, TrainingArguments

from app.command import main as flexlora
from flexlora import FlexLoRAConfig, attach
from flexlora.checkpoint import find_checkpoint, save_checkpoint
from flexlora.integrations import FlexLoRACallback
from flexlora.job import build_job
from flexlora.methods import METHODS
from flexlora.model_card import read_adapter
from flexlora.session import Session
from flexlora.stored_adapter import read_stored
from flexlora.train import main as train

SETTINGS = {
    "initial_rank": 4, "warmup_steps": 2, "final_steps": 2, "interval": 3, "initial_budget": 3, "schedule": "constant",
}  # fmt: skip


def assert_same_export(live, exported):
    mine, other = load_file(live / "adapter_model.safetensors"), load_file(exported / "adapter_model.safetensors")
    assert list(mine) == list(other)
    assert all(torch.equal(mine[name], other[name]) and mine[name].dtype == other[name].dtype for name in mine)
    configs = [json.loads((folder / "adapter_config.json").read_text()) for folder in (live, exported)]
    for config in configs:
        for key in ("target_modules", "modules_to_save"):
            if isinstance(config[key], list):
                config[key] = sorted(config[key])
    assert configs[0] == configs[1]


@pytest.fixture(scope="module")
def checkpoint(make_gpt2, tmp_path_factory):
    """A Trainer's last checkpoint, and what the live model exports."""
    folder = tmp_path_factory.mktemp("trained")
    model = make_gpt2()
    callback = FlexLoRACallback(model, FlexLoRAConfig(**SETTINGS), folder / "run")
    ids = torch.randint(3, 30, (16, 8), generator=torch.Generator().manual_seed(1))
    args = TrainingArguments(
        str(folder / "out"), max_steps=12, save_steps=12, per_device_train_batch_size=4, learning_rate=5e-3,
        report_to=[], disable_tqdm=True, use_cpu=True, dataloader_pin_memory=False,
    )  # fmt: skip
    rows = [{"input_ids": row, "labels": index % 2} for index, row in enumerate(ids)]
    Trainer(model=model, args=args, train_dataset=rows, callbacks=[callback]).train()
    assert len(set(callback.adapter.ranks().values())) > 1
    callback.adapter.export_peft(folder / "live")
    callback.adapter.save(folder / "saved")
    return folder


def test_a_trainers_checkpoint_is_exported_as_the_live_model_is(checkpoint, make_gpt2, tmp_path, capsys):
    source = checkpoint / "out" / "checkpoint-12"
    assert flexlora(["export", str(source), "--out", str(tmp_path / "peft"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["kind"] == "a Trainer's checkpoint" and told["total_rank"] == sum(told["ranks"].values())
    assert_same_export(checkpoint / "live", tmp_path / "peft")
    ids = torch.randint(3, 30, (2, 8))
    left = PeftModel.from_pretrained(make_gpt2(), str(checkpoint / "live"))(input_ids=ids).logits
    right = PeftModel.from_pretrained(make_gpt2(), str(tmp_path / "peft"))(input_ids=ids).logits
    assert torch.equal(left, right)


class Plain(nn.Module):
    """Of such the Trainer saves all weights, frozen ones too."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(2)
        self.embed = nn.Embedding(40, 8)
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))
        self.head = nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 2))

    def forward(self, input_ids, labels):
        x = self.embed(input_ids).mean(1)
        for layer in self.layers:
            x = x + torch.tanh(layer(x))
        logits = self.head(x)
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


@pytest.mark.parametrize("part", [False, True])
def test_a_plain_module_is_exported_without_its_frozen_weights(part, tmp_path):
    """Also where the adapted model is a part of what the Trainer saves."""

    class Around(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, input_ids, labels):
            return self.inner(input_ids, labels)

    model = Plain()
    callback = FlexLoRACallback(model, FlexLoRAConfig(**SETTINGS))
    args = TrainingArguments(
        str(tmp_path / "out"), max_steps=12, save_steps=12, learning_rate=5e-3, report_to=[], disable_tqdm=True,
        use_cpu=True, dataloader_pin_memory=False, remove_unused_columns=False,
    )  # fmt: skip
    rows = [{"input_ids": torch.arange(6) + index, "labels": index % 2} for index in range(32)]
    whole = Around(model) if part else model
    Trainer(model=whole, args=args, train_dataset=rows, callbacks=[callback]).train()
    callback.adapter.export_peft(tmp_path / "live")
    source = tmp_path / "out" / "checkpoint-12"
    assert any(name.endswith("embed.weight") for name in load_file(source / "model.safetensors"))
    assert flexlora(["export", str(source), "--out", str(tmp_path / "peft")]) == 0
    assert_same_export(tmp_path / "live", tmp_path / "peft")


def test_a_saved_adapter_is_exported_as_the_live_model_is(checkpoint, tmp_path):
    assert flexlora(["export", str(checkpoint / "saved"), "--out", str(tmp_path / "peft")]) == 0
    assert_same_export(checkpoint / "live", tmp_path / "peft")


def test_checkpoints_that_say_nothing_of_the_model_are_exported_with_the_same_tensors(checkpoint, make_gpt2, tmp_path):
    source = shutil.copytree(checkpoint / "out" / "checkpoint-12", tmp_path / "older")
    state = json.loads((source / "trainer_state.json").read_text())
    del state["stateful_callbacks"]["FlexLoRACallback"]["attributes"]["export"]
    (source / "trainer_state.json").write_text(json.dumps(state))
    assert flexlora(["export", str(source), "--out", str(tmp_path / "peft"), "--base-model", "some/base"]) == 0
    mine = load_file(checkpoint / "live" / "adapter_model.safetensors")
    other = load_file(tmp_path / "peft" / "adapter_model.safetensors")
    assert mine.keys() == other.keys() and all(torch.equal(mine[name], other[name]) for name in mine)
    config = json.loads((tmp_path / "peft" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "some/base" and config["modules_to_save"] == ["score"]
    ids = torch.randint(3, 30, (2, 8))
    with pytest.warns(UserWarning, match="fan_in_fan_out"):
        right = PeftModel.from_pretrained(make_gpt2(), str(tmp_path / "peft"))(input_ids=ids).logits
    assert torch.equal(right, PeftModel.from_pretrained(make_gpt2(), str(checkpoint / "live"))(input_ids=ids).logits)


def test_what_peft_cannot_hold_is_refused_from_a_file_too(make_bert, tmp_path, capsys):
    adapter = attach(make_bert(), FlexLoRAConfig(**SETTINGS, total_steps=12))
    next(iter(adapter.matrices.values())).base.weight.requires_grad_(True)
    adapter.save(tmp_path / "saved")
    assert flexlora(["export", str(tmp_path / "saved"), "--out", str(tmp_path / "peft")]) == 2
    assert "its own weight is trained beside that" in capsys.readouterr().err
    assert not (tmp_path / "peft").exists()


@pytest.mark.parametrize("method", METHODS)
def test_a_checkpoint_of_the_lab_is_exported_as_the_live_model_is(method, tmp_path):
    session = Session(build_job("digits", method, None, 12, 0, {}))
    for step in range(1, 9):
        session.train_step(step)
        if session.is_event(step):
            session.event(step)
        session.finish_step()
    save_checkpoint(session, tmp_path / "run" / "checkpoint", 8, {})
    session.adapter.export_peft(tmp_path / "live")
    assert flexlora(["export", str(tmp_path / "run" / "checkpoint"), "--out", str(tmp_path / "peft")]) == 0
    assert_same_export(tmp_path / "live", tmp_path / "peft")
    assert find_checkpoint(tmp_path / "run" / "checkpoint")[1] == {}


def test_a_run_folder_gives_its_final_adapter(tmp_path):
    run = tmp_path / "run"
    assert train(["--task", "digits", "--steps", "8", "--out", str(run)]) == 0
    assert flexlora(["export", str(run), "--out", str(tmp_path / "peft")]) == 0
    stored = read_stored(run)
    assert stored.run == run and stored.kind == "a saved adapter"
    tensors = load_file(tmp_path / "peft" / "adapter_model.safetensors")
    ranks = {name: rank for name, rank in stored.ranks().items() if rank}
    for name, rank in ranks.items():
        assert tensors[f"base_model.model.{name}.lora_A.weight"].shape[0] == rank


def test_wrong_input_is_one_clear_line(checkpoint, tmp_path, capsys):
    def told(source, *more):
        assert flexlora(["export", str(source), "--out", str(tmp_path / "peft"), *more]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1 and not (tmp_path / "peft").exists()
        return error

    assert "is no folder" in told(tmp_path / "nowhere")
    assert "holds no adapter: neither trainer_state.json" in told(tmp_path)
    (tmp_path / "out" / "checkpoint-9").mkdir(parents=True)
    (tmp_path / "out" / "checkpoint-10").mkdir()
    assert f"give one of them, such as {tmp_path / 'out' / 'checkpoint-10'}." in told(tmp_path / "out")
    assert "is a PEFT adapter already" in told(checkpoint / "live")
    assert "--card writes its model card" in told(checkpoint / "live")
    assert "names its base model itself" in told(checkpoint / "live", "--card", "--base-model", "x")
    assert "holds no weights" in told(checkpoint / "run")
    broken = shutil.copytree(checkpoint / "out" / "checkpoint-12", tmp_path / "broken")
    whole = (broken / "model.safetensors").read_bytes()
    (broken / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    assert "is damaged or of another version" in told(broken)
    tensors = load_file(checkpoint / "out" / "checkpoint-12" / "model.safetensors")
    name = next(name for name in tensors if name.endswith(".lam"))
    save_file({key: value for key, value in tensors.items() if key != name}, broken / "model.safetensors")
    assert f"it lacks '{name}'" in told(broken)
    (broken / "trainer_state.json").write_text("{}")
    assert "was not written with a FlexLoRACallback" in told(broken)
    assert "--out is the folder" in told(checkpoint / "saved", "--out", str(checkpoint / "saved" / "adapter.json"))


def test_a_peft_adapter_gets_its_card_in_place_or_in_a_copy(checkpoint, tmp_path, capsys):
    mine = shutil.copytree(checkpoint / "live", tmp_path / "mine")
    for out in (mine, tmp_path / "copy"):
        more = ["--card", "--run", str(checkpoint / "run"), "--license", "mit"]
        assert flexlora(["export", str(mine), "--out", str(out), *more]) == 0
        assert f"from a PEFT adapter: {len(read_adapter(mine)[1])} matrices" in capsys.readouterr().out
        assert_same_export(checkpoint / "live", out)
        card = (out / "README.md").read_text()
        assert "license: mit" in card and "directions moved" in card and (out / "rank_map.svg").exists()
    assert flexlora(["export", str(mine), "--out", str(tmp_path / "copy"), "--card"]) == 2
    assert "holds an adapter already" in capsys.readouterr().err


def test_an_adapter_that_is_there_is_only_replaced_on_request(checkpoint, tmp_path, capsys):
    source, out = str(checkpoint / "saved"), tmp_path / "peft"
    out.mkdir()
    (out / "adapter_config.json").write_text("mine")
    assert flexlora(["export", source, "--out", str(out)]) == 2
    assert "add --overwrite" in capsys.readouterr().err and (out / "adapter_config.json").read_text() == "mine"
    assert flexlora(["export", source, "--out", str(out), "--overwrite"]) == 0
    assert_same_export(checkpoint / "live", out)
