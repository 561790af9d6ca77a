"""The learning rate that a log shows is that of the group which holds the adapter."""

from __future__ import annotations

import pytest
import torch
from peft import get_peft_model
from transformers import Trainer, TrainingArguments

from analysis.runs import load_run
from flexlora import FlexLoRAConfig, attach
from flexlora.integrations import FlexLoRACallback, Recorder
from flexlora.peft import FlexLoRACallback as PeftCallback
from flexlora.peft import FlexLoRAConfig as PeftConfig
from tests.trainer_runs import Rows

HEAD, OWN = 0.03, 0.002


def grouped(adapter):
    head = {id(part) for part in adapter.head_parameters()}
    rest = [part for part in adapter.trainable_parameters() if id(part) not in head]
    groups = [{"params": adapter.head_parameters(), "lr": HEAD}, {"params": rest, "lr": OWN}]
    return torch.optim.AdamW(groups, lr=0.5)


@pytest.mark.parametrize("door", ["attach", "peft", "lora"])
def test_under_the_trainer(door, make_bert, tmp_path):
    model = make_bert()
    if door == "attach":
        callback = FlexLoRACallback(model, FlexLoRAConfig(initial_rank=2), tmp_path / "run")
        adapter = callback.adapter
    else:
        options = {"method": "lora"} if door == "lora" else {}
        model = get_peft_model(model, PeftConfig(task_type="SEQ_CLS", r=2, **options))
        callback, adapter = PeftCallback(tmp_path / "run"), model.base_model.adapter
    optimizer = grouped(adapter)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / 8)
    arguments = TrainingArguments(
        str(tmp_path / "out"), max_steps=8, learning_rate=0.1, report_to=[], save_strategy="no", use_cpu=True,
        disable_tqdm=True, per_device_train_batch_size=4, dataloader_pin_memory=False,
    )  # fmt: skip
    Trainer(
        model, arguments, train_dataset=Rows("bert"), optimizers=(optimizer, schedule), callbacks=[callback]
    ).train()
    log = load_run(tmp_path / "run").log
    assert log.header["config"]["learning_rate"] == OWN
    assert log.steps["learning_rate"] == pytest.approx([OWN * (1 - step / 8) for step in range(8)])


@pytest.mark.filterwarnings("ignore:No λ has a gradient")
def test_with_a_recorder(make_bert, tmp_path):
    config = FlexLoRAConfig(initial_rank=2, total_steps=2, initial_budget=0)
    adapter = attach(make_bert(), config)
    with Recorder(adapter, grouped(adapter), config, tmp_path / "run") as recorder:
        recorder.step(1, 1.0, 0.1)
        recorder.step(2, 1.0, 0.1, learning_rate=0.25)
    assert load_run(tmp_path / "run").log.steps["learning_rate"].tolist() == [OWN, 0.25]
