"""What training changes beside the matrices is in every file, or the file is refused."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
import transformers as tf
from peft import PeftModel, get_peft_model
from safetensors.torch import load_file
from torch import nn

from flexlora import FlexLoRAConfig, attach
from flexlora.adapter_files import load_adapter
from flexlora.beside import buffers_of, moved_buffers
from flexlora.checkpoint import load_checkpoint, save_checkpoint
from flexlora.errors import FlexLoRAError, FlexLoRAWarning
from flexlora.job import build_job
from flexlora.peft import FlexLoRAConfig as PeftConfig
from flexlora.session import Session
from flexlora.stored_adapter import read_stored


def net(**parts):
    torch.manual_seed(0)
    model = nn.Sequential()
    for name, part in parts.items():
        model.add_module(name, part())
    return model


def linear():
    return nn.Linear(16, 16)


def pair(name):
    return lambda: net(first=linear, **{name: linear})


def normed():
    return nn.Sequential(nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))


class Counting(nn.Module):
    """Holds a buffer that moves, beside a layer that is adapted."""

    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(16, 16)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        if self.training:
            self.seen += 1
        return self.lin(x) + self.seen


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.words, self.lin, self.last = nn.Embedding(16, 16), nn.Linear(16, 16), nn.Linear(16, 16, bias=False)
        self.last.weight = self.words.weight

    def forward(self, x):
        return self.last(torch.tanh(self.lin(x + self.words.weight[:4].mean())))


CASES = {
    "norm in the body": (lambda: net(body=linear, norm=lambda: nn.BatchNorm1d(16), after=linear), None),
    "norm in the head": (lambda: net(body=linear, head=normed), None),
    "ends like PEFT's dropout": (lambda: net(body=pair("proj"), out=linear), ["out"]),
    "ends like lora_A": (lambda: net(body=pair("proj"), A=linear), ["A"]),
    "ends like a part": (lambda: net(body=pair("head"), head=linear), None),
    "ends like a part's end": (lambda: net(body=pair("subhead"), head=linear), None),
    "tied": (Tied, ["words"]),
}


def trained(make, names, steps=3):
    model = make()
    adapter = attach(model, FlexLoRAConfig(initial_rank=2, total_steps=9, modules_to_save=names))
    optimizer = torch.optim.AdamW(adapter.trainable_parameters(), lr=0.05)
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        model(torch.randn(8, 16, generator=generator) * 3 + 1).pow(2).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval(), adapter


@pytest.mark.parametrize("case", CASES)
def test_every_file_computes_what_the_model_does(case, tmp_path):
    make, names = CASES[case]
    model, adapter = trained(make, names)
    x = torch.randn(4, 16)
    wanted = model(x)
    adapter.export_peft(tmp_path / "peft")
    adapter.save(tmp_path / "own")
    again = make().eval()
    loaded = load_adapter(again, tmp_path / "own")
    assert torch.equal(again(x), wanted)
    held = PeftModel.from_pretrained(make(), str(tmp_path / "peft")).eval()
    assert torch.allclose(held(x), wanted, atol=1e-5)
    # What was loaded and what lies in the file are exported as what was trained.
    loaded.export_peft(tmp_path / "again")
    read_stored(tmp_path / "own").export_peft(tmp_path / "stored")
    files = [load_file(tmp_path / name / "adapter_model.safetensors") for name in ("peft", "again", "stored")]
    assert all(list(file) == list(files[0]) for file in files)
    assert all(torch.equal(value, file[name]) for file in files for name, value in files[0].items())
    assert torch.allclose(adapter.merge()(x), wanted, atol=1e-5)


@pytest.mark.parametrize("norm", [nn.utils.spectral_norm, nn.utils.parametrizations.spectral_norm])
def test_a_weight_that_moves_by_itself_is_saved_and_not_exported(norm, tmp_path):
    def make():
        return net(body=lambda: norm(linear()), after=linear)

    model, adapter = trained(make, None)
    adapter.save(tmp_path / "own")
    again = make()
    load_adapter(again, tmp_path / "own")
    x = torch.randn(4, 16)
    assert torch.equal(again.eval()(x), model(x))
    with pytest.raises(FlexLoRAError, match=r"body\..*u moves in training and is a part of an adapted layer"):
        adapter.export_peft(tmp_path / "peft")


REFUSED = {
    "a buffer beside a layer": (lambda: net(body=Counting, head=linear), "body itself holds values"),
    "a buffer of the model": (Counting, "seen changes in training"),
    "an ending of two": (lambda: net(body=linear, supermodel=pair("head"), head=linear), "head .* cannot tell it from"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_peft_cannot_hold_is_refused(case, tmp_path):
    make, told = REFUSED[case]
    _, adapter = trained(make, None)
    with pytest.raises(FlexLoRAError, match=told):
        adapter.export_peft(tmp_path)
    assert not list(tmp_path.iterdir())


def bert(labels, layers):
    sizes = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": 64}
    return tf.BertForSequenceClassification(tf.BertConfig(num_labels=labels, num_hidden_layers=layers, **sizes))


@pytest.mark.parametrize(
    ("one", "two", "told"),
    [
        (lambda: bert(1, 1), lambda: bert(3, 1), r"classifier.bias is of shape \(3,\) in this model and \(1,\)"),
        (lambda: bert(2, 2), lambda: bert(2, 1), "layer.1.* is not among the matrices of this model"),
        (lambda: bert(2, 1), lambda: bert(2, 2), "layer.1.* is in this model and not in the file"),
        (
            lambda: nn.Sequential(nn.Linear(8, 24), nn.Linear(24, 8)),
            lambda: nn.Sequential(nn.Linear(24, 8), nn.Linear(8, 24)),
            "0 is 8 × 24 in this model and 24 × 8 in the file",
        ),
    ],
)
def test_an_adapter_of_another_model_is_refused_and_leaves_the_model_alone(one, two, told, tmp_path):
    attach(one(), FlexLoRAConfig(initial_rank=2, total_steps=9)).save(tmp_path)
    model = two()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(FlexLoRAError, match=told):
        load_adapter(model, tmp_path)
    after = model.state_dict()
    assert list(after) == list(before) and all(torch.equal(after[name], before[name]) for name in before)


@pytest.mark.parametrize("saved", [True, False])
def test_what_peft_does_not_save_of_a_peft_model_is_told_and_what_it_saves_is_there(saved, tmp_path):
    def make():
        return net(body=linear, norm=lambda: nn.BatchNorm1d(16), after=linear)

    settings = PeftConfig(r=2, total_steps=9, method="lora", modules_to_save=["norm"] if saved else None)
    model = get_peft_model(make(), settings)
    for _ in range(3):
        model(torch.randn(8, 16) * 3 + 1)
    x = torch.randn(4, 16)
    if saved:
        with warnings.catch_warnings():
            warnings.simplefilter("error", FlexLoRAWarning)
            model.save_pretrained(tmp_path)
        again = PeftModel.from_pretrained(make(), str(tmp_path)).eval()
        assert torch.allclose(again(x), model.eval()(x), atol=1e-6)
    else:
        with pytest.warns(FlexLoRAWarning, match=r"norm.running_mean has moved .* Add 'norm' to modules_to_save"):
            model.save_pretrained(tmp_path)


def test_a_checkpoint_of_the_lab_holds_what_moved(tmp_path):
    def session():
        made = Session(build_job("digits", "lora", None, 12, 0, {}))
        model = made.adapter.model
        head = model.get_submodule(made.adapter.head[0].rpartition(".")[0])
        head.register_buffer("seen", torch.zeros(3))
        made.adapter.buffers_before = {name: value.clone() for name, value in buffers_of(model).items()}
        return made, head

    one, head = session()
    one.train_step(1)
    one.finish_step()
    assert not moved_buffers(one.adapter)
    head.seen.add_(2)
    save_checkpoint(one, tmp_path / "checkpoint", 1, {})
    two, other = session()
    assert load_checkpoint(two, tmp_path / "checkpoint")[0] == 1
    assert torch.equal(other.seen, torch.full((3,), 2.0))
    one.adapter.export_peft(tmp_path / "live")
    read_stored(tmp_path / "checkpoint").export_peft(tmp_path / "stored")
    live, stored = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("live", "stored"))
    assert list(live) == list(stored) and any(name.endswith(".seen") for name in live)
    assert all(torch.equal(value, stored[name]) for name, value in live.items())
