"""docs/peft.md: its examples run, in their order, and its tables name what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import TrainingArguments

from flexlora.methods import METHODS
from flexlora.peft import FlexLoRAModel
from flexlora.peft.config import NOT_HERE, REFUSED

TEXT = (Path(__file__).parents[2] / "docs" / "peft.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


class Rows(torch.utils.data.Dataset):
    def __len__(self):
        return 32

    def __getitem__(self, index):
        return {"input_ids": torch.arange(8) + index, "labels": index % 2}


def test_the_examples_run(make_bert, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    args = TrainingArguments(
        "out", max_steps=10, report_to=[], use_cpu=True, disable_tqdm=True, dataloader_pin_memory=False
    )
    batches = [{"input_ids": torch.arange(8)[None] + step, "labels": torch.tensor([step % 2])} for step in range(20)]
    scope = {"model": make_bert(), "args": args, "data": Rows(), "batches": batches}
    trainer, ranks, card, _, loop, load, more = EXAMPLES
    exec(trainer, scope)
    exec(ranks, scope)
    exec(card, scope)
    assert "directions moved" in (tmp_path / "my_adapter" / "README.md").read_text(encoding="utf-8")
    assert (tmp_path / "runs" / "mine" / "run.json").exists()
    assert len(set(scope["model"].base_model.adapter.ranks().values())) > 1
    scope["model"] = make_bert()
    exec(loop, scope)
    scope |= {"base": make_bert(), "another_base": make_bert()}
    exec(load, scope)
    assert isinstance(scope["plain"], PeftModel)
    exec(more, scope)
    assert isinstance(scope["more"].base_model, FlexLoRAModel)
    assert scope["more"].base_model.adapter.ranks() == scope["model"].base_model.adapter.ranks()


def test_every_method_and_every_refusal_is_in_the_tables():
    table = TEXT.split("## Methods")[1].split("## What of")[0]
    rows: dict[str, str] = {}
    for line in table.splitlines():
        if line.startswith("|"):
            rows |= dict.fromkeys(re.findall(r"`(\w+)`", line.split("|")[1]), line)
    assert rows.keys() == METHODS.keys()
    assert {name for name, line in rows.items() if "| no: " in line} == REFUSED.keys()
    told = TEXT.split("## What of PEFT's LoRA applies")[1]
    # How a layer stores its weight is no choice of anybody's.
    assert [key for key in NOT_HERE if key != "fan_in_fan_out" and f"`{key}`" not in told] == []


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning:trl")
def test_the_example_of_trl_runs(make_llama, make_tokenizer, tmp_path):
    trl = pytest.importorskip("trl")
    from datasets import Dataset

    args = trl.SFTConfig(
        str(tmp_path), max_steps=10, max_length=16, report_to=[], use_cpu=True, disable_tqdm=True, bf16=False,
        dataloader_pin_memory=False, eos_token=None,
    )  # fmt: skip
    data = Dataset.from_list([{"input_ids": list(range(start, start + 8))} for start in range(32)])
    scope = {"model": make_llama(), "args": args, "data": data, "tokenizer": make_tokenizer()}
    exec("from flexlora.peft import FlexLoRACallback, FlexLoRAConfig\n" + EXAMPLES[3], scope)
    assert isinstance(scope["trainer"].model.base_model, FlexLoRAModel)
    assert len(set(scope["trainer"].model.base_model.adapter.ranks().values())) > 1
