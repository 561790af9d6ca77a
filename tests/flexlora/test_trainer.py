"""The stock Trainer: trains, allocates, logs, saves, resumes and exports, on four kinds of model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import Trainer, TrainingArguments

from analysis.runs import load_run
from flexlora import FlexLoRAConfig, attach
from flexlora.adapter import find_targets
from flexlora.errors import FlexLoRAError, FlexLoRAWarning
from flexlora.integrations import FlexLoRACallback

STEPS = 24
SETTINGS = {"initial_rank": 4, "warmup_steps": 2, "final_steps": 4, "interval": 3, "initial_budget": 3}


class Rows(torch.utils.data.Dataset):
    def __init__(self, kind, count=64):
        generator = torch.Generator().manual_seed(3)
        self.rows = []
        for index in range(count):
            label = index % 2
            if kind == "vit":
                pixels = torch.randn(1, 8, 8, generator=generator) + label
                self.rows.append({"pixel_values": pixels, "labels": label})
                continue
            ids = torch.randint(3, 30, (8,), generator=generator) + 25 * label
            self.rows.append({"input_ids": ids, "labels": ids.clone() if kind == "llama" else label})

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return self.rows[index]


@pytest.fixture
def make(request, make_bert, make_gpt2, make_llama, make_vit):
    return {"bert": lambda: make_bert(dropout=0.1), "gpt2": make_gpt2, "llama": make_llama, "vit": make_vit}


def arguments(folder, **more):
    settings = {
        "max_steps": STEPS,
        "per_device_train_batch_size": 4,
        "learning_rate": 5e-3,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "logging_steps": 5,
        "use_cpu": True,
        "dataloader_pin_memory": False,
        "seed": 1,
    }
    return TrainingArguments(str(folder), **{**settings, **more})


def trained(model, kind, folder, *, config=None, resume=None, callbacks=(), **more):
    callback = FlexLoRACallback(model, config or FlexLoRAConfig(**SETTINGS), folder / "run")
    trainer = Trainer(
        model=model,
        args=arguments(folder / "out", **more),
        train_dataset=Rows(kind),
        eval_dataset=Rows(kind, 16),
        callbacks=[callback, *callbacks],
    )
    trainer.train(resume_from_checkpoint=resume)
    return callback, trainer


KINDS = ("bert", "gpt2", "llama", "vit")


@pytest.mark.parametrize("kind", KINDS)
def test_trains_allocates_resumes_and_exports(kind, make, tmp_path):
    whole, _ = trained(make[kind](), kind, tmp_path / "whole")
    stop, _ = trained(make[kind](), kind, tmp_path / "cut", save_strategy="steps", save_steps=11)
    checkpoint = tmp_path / "cut" / "out" / "checkpoint-11"
    model = make[kind]()
    resumed, _ = trained(model, kind, tmp_path / "cut", resume=str(checkpoint))

    run, other = load_run(tmp_path / "whole" / "run"), load_run(tmp_path / "cut" / "run")
    assert run.state == other.state == "finished" and not run.notices and not other.notices
    assert len(run.events) == len(whole.config.event_steps()) == 5
    assert sum(len(event["prune"]) for event in run.events) > 0
    assert [note["resumed_from"] for note in other.notes if note["kind"] == "resumed_from"] == [11]
    for t in range(STEPS + 1):
        mine, its = run.singular_values(t), other.singular_values(t)
        assert all(np.array_equal(mine[name], its[name]) for name in mine), t
    for name in ("task_loss", "regularizer", "loss", "learning_rate", "budget"):
        assert np.array_equal(run.metrics[name][1], other.metrics[name][1]), name
    assert run.events == other.events
    assert whole.adapter.ranks() == resumed.adapter.ranks() == stop.adapter.ranks()
    assert sum(resumed.adapter.ranks().values()) == 4 * len(resumed.adapter.matrices)

    batch = next(iter(torch.utils.data.DataLoader(Rows(kind), batch_size=4)))
    batch.pop("labels")
    model.eval()
    with torch.no_grad():
        logits = model(**batch).logits
        resumed.adapter.export_peft(tmp_path / "peft")
        peer = PeftModel.from_pretrained(make[kind](), str(tmp_path / "peft")).eval()
        assert torch.allclose(peer(**batch).logits, logits, atol=1e-5)
