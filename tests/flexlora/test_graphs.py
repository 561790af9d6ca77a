"""Steps replayed as graphs need a CUDA device; without one they say so, and the Trainer goes on as ever.

``benchmarks/graphs_hold.py`` holds replayed steps to ordinary ones on a device.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from peft import get_peft_model
from transformers import Trainer, TrainingArguments

import flexlora.peft
from flexlora import FlexLoRAConfig, RankAllocator, attach
from flexlora.errors import FlexLoRAError, FlexLoRAWarning
from flexlora.graphs import GraphedStep
from flexlora.integrations import FlexLoRACallback, GraphedTrainer
from flexlora.run_log import read_run


def test_without_a_device_it_says_what_is_missing(make_bert):
    model = make_bert()
    config = FlexLoRAConfig(initial_rank=2, total_steps=10)
    adapter = attach(model, config)
    optimizer = torch.optim.AdamW(adapter.trainable_parameters())
    with pytest.raises(FlexLoRAError, match="on a CUDA device only; this model is on cpu"):
        GraphedStep(model, adapter, optimizer, allocator=RankAllocator(adapter, optimizer, config))


class Rows(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 16

    def __getitem__(self, index):
        ids = torch.randint(3, 60, (8,), generator=torch.Generator().manual_seed(index))
        return {"input_ids": ids, "labels": index % 2}


def trained(kind, make_bert, folder, method=None):
    torch.manual_seed(0)
    model, settings = make_bert(), {"initial_budget": 3, "interval": 2}
    if method is None:
        callback = FlexLoRACallback(model, FlexLoRAConfig(initial_rank=3, **settings), folder / "run")
    else:
        settings = settings if method == "flexlora" else {}
        chosen = flexlora.peft.FlexLoRAConfig(method=method, r=3, task_type="SEQ_CLS", **settings)
        model, callback = get_peft_model(model, chosen), flexlora.peft.FlexLoRACallback(folder / "run")
    arguments = TrainingArguments(
        str(folder / "out"), max_steps=8, per_device_train_batch_size=4, learning_rate=5e-3, report_to=[], seed=1,
        disable_tqdm=True, save_strategy="no", use_cpu=True, dataloader_pin_memory=False,
    )  # fmt: skip
    kind(model=model, args=arguments, train_dataset=Rows(), callbacks=[callback]).train()
    return read_run(folder / "run")


def test_under_the_trainer_it_falls_back_and_says_why_once(make_bert, tmp_path):
    with pytest.warns(FlexLoRAWarning, match="graphs need a CUDA device; this job is on cpu") as told:
        found = trained(GraphedTrainer, make_bert, tmp_path / "a")
    assert len([one for one in told if "graph" in str(one.message)]) == 1
    wanted = trained(Trainer, make_bert, tmp_path / "b")
    assert found.steps["task_loss"].tolist() == wanted.steps["task_loss"].tolist()
    assert found.ranks.tolist() == wanted.ranks.tolist()


class Refusing:
    """Stands in for ``Replays`` on a device, of a model that does what no graph can hold."""

    told = "it cannot be captured: a reason"

    def __init__(self, run, parameters, device) -> None:
        self.run = run

    def __call__(self, batch):
        return self.run(batch)


def test_a_step_that_cannot_be_captured_is_told_though_none_ever_was(make_bert, tmp_path, monkeypatch):
    monkeypatch.setattr("flexlora.integrations.graphed_trainer.Replays", Refusing)
    monkeypatch.setattr(GraphedTrainer, "_unsuited", lambda self, batch: None)
    with pytest.warns(FlexLoRAWarning, match="cannot be captured: a reason") as told:
        found = trained(GraphedTrainer, make_bert, tmp_path / "a")
    assert len([one for one in told if "captured" in str(one.message)]) == 1
    wanted = trained(Trainer, make_bert, tmp_path / "b")
    assert found.steps["task_loss"].tolist() == wanted.steps["task_loss"].tolist()
    assert found.ranks.tolist() == wanted.ranks.tolist()


@pytest.mark.parametrize("method", [None, "flexlora"])
def test_the_loss_of_a_replayed_step_reaches_the_callback_also_inside_peft(make_bert, tmp_path, monkeypatch, method):
    kept, keep = [], FlexLoRACallback.keep_loss
    monkeypatch.setattr("flexlora.integrations.graphed_trainer.Replays", Refusing)
    monkeypatch.setattr(Refusing, "told", None)
    monkeypatch.setattr(GraphedTrainer, "_unsuited", lambda self, batch: None)
    monkeypatch.setattr(FlexLoRACallback, "keep_loss", lambda self, loss: (kept.append(loss.item()), keep(self, loss)))
    assert trained(GraphedTrainer, make_bert, tmp_path, method).steps["task_loss"].tolist() == kept[:8] != []


@pytest.mark.parametrize(("method", "told"), [("dylora", "act in the forward pass"), ("flexlora", None)])
def test_methods_that_act_in_the_forward_pass_are_not_replayed(make_bert, tmp_path, monkeypatch, method, told):
    seen = []

    def unsuited(self, batch, ask=GraphedTrainer._unsuited):
        with monkeypatch.context() as on_a_device:
            on_a_device.setattr(TrainingArguments, "device", SimpleNamespace(type="cuda"))
            seen.append(ask(self, batch))
        return "no device"

    monkeypatch.setattr(GraphedTrainer, "_unsuited", unsuited)
    with pytest.warns(FlexLoRAWarning, match="no device"):
        trained(GraphedTrainer, make_bert, tmp_path, method)
    assert seen
    assert all(told in reason if told else reason is None for reason in seen)
