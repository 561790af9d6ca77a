"""Two processes of one job (gloo, CPU): the same adapter in both, bit for bit, after every event."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.runs import load_run

MODEL_AND_DATA = """
import torch
from transformers import BertConfig, BertForSequenceClassification

torch.manual_seed(0)
model = BertForSequenceClassification(BertConfig(
    vocab_size=60, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64))
train_dataset = [{"input_ids": torch.randint(1, 60, (8,)), "labels": n % 2} for n in range(96)]
"""
SCRIPT = """
import json, os, runpy, sys
from pathlib import Path
import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainerCallback, TrainingArguments
from flexlora import FlexLoRAConfig
from flexlora.errors import FlexLoRAError
from flexlora.integrations import FlexLoRACallback
from flexlora.integrations.agreement import digest

folder, rank = Path.cwd(), int(os.environ["RANK"])

def train(case, max_rank=8):
    torch.manual_seed(0)
    model = BertForSequenceClassification(BertConfig(
        vocab_size=60, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=16, hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.0))
    generator = torch.Generator().manual_seed(3)
    draw = lambda i: torch.randint(3, 30, (8,), generator=generator) + 25 * (i % 2)
    rows = [{"input_ids": draw(i), "labels": i % 2} for i in range(64)]
    found = []

    class Watch(TrainerCallback):
        def on_optimizer_step(self, args, state, control, **more):
            if case == "diverged" and rank and state.global_step == 4:
                with torch.no_grad():
                    next(iter(callback.adapter.matrices.values())).lam[0] += 0.01
            grads = {name: matrix.lam.grad.tolist() for name, matrix in callback.adapter.matrices.items()}
            found.append({"slots": {name: list(matrix.slots) for name, matrix in callback.adapter.matrices.items()},
                          "lambda_gradients": grads})

        def on_step_end(self, args, state, control, **more):
            found[-1]["digest"] = digest(callback.adapter)

    config = FlexLoRAConfig(initial_rank=4, max_rank=max_rank, warmup_steps=2, final_steps=4, interval=3,
                            initial_budget=4, schedule="constant")
    callback = FlexLoRACallback(model, config, folder / case)
    args = TrainingArguments(str(folder / "out"), max_steps=24, per_device_train_batch_size=4, learning_rate=5e-3,
        save_strategy="no", report_to=[], disable_tqdm=True, use_cpu=True, ddp_backend="gloo",
        dataloader_pin_memory=False)
    Trainer(model=model, args=args, train_dataset=rows, callbacks=[Watch(), callback]).train()
    return found

runpy.run_path("recipe.py")
(folder / f"plain{rank}.json").write_text(json.dumps(train("plain")))
try:
    train("unbounded", max_rank=None)
except FlexLoRAError as error:
    (folder / f"unbounded{rank}.txt").write_text(str(error))
train("diverged")
"""


@pytest.fixture(scope="module")
def launched(tmp_path_factory):
    """One job of two processes trains four times, because each imports torch first; the fourth ends it."""
    folder = tmp_path_factory.mktemp("two")
    recipes = Path(__file__).resolve().parents[2] / "docs" / "recipes.md"
    blocks = re.findall(r"```python\n(.*?)```", recipes.read_text(encoding="utf-8"), re.DOTALL)
    (recipe,) = (block for block in blocks if "FlexLoRACallback(" in block)
    (folder / "recipe.py").write_text(MODEL_AND_DATA + recipe, encoding="utf-8")
    (folder / "train.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", free_port()]
    quiet = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [*command, "train.py"],
        cwd=folder, env={**os.environ, **quiet, "GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    return folder, done


@pytest.fixture
def two(launched):
    folder, done = launched
    assert (folder / "plain1.json").exists(), done.stderr[-3000:]
    return folder, [json.loads((folder / f"plain{rank}.json").read_text()) for rank in (0, 1)]


def free_port():
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


def test_the_trainer_recipe_of_the_readme_runs_as_it_stands(launched):
    folder, done = launched
    assert (folder / "runs" / "mine").exists(), done.stderr[-3000:]
    run = load_run(folder / "runs" / "mine")
    assert run.state == "finished" and run.config["processes"] == 2 and run.events
    assert (folder / "my_adapter" / "adapter_model.safetensors").exists()


def test_both_processes_hold_the_same_adapter_after_every_step(two):
    folder, (first, second) = two
    assert [step["digest"] for step in first] == [step["digest"] for step in second]
    run = load_run(folder / "plain")
    assert run.state == "finished" and len(run.events) == 5
    assert sum(len(event["extend"]) for event in run.events) > 6
    assert run.config["processes"] == 2


def test_gradients_of_activated_slots_are_synchronised(two):
    folder, (first, second) = two
    activated = [(e["step"], m["matrix"], m["slot"]) for e in load_run(folder / "plain").events for m in e["extend"]]
    awake = 0
    for step, name, slot in activated:
        for mine, its in zip(first[step:], second[step:], strict=True):
            if slot not in mine["slots"][name]:
                break
            assert mine["lambda_gradients"][name][slot] == its["lambda_gradients"][name][slot]
            awake += mine["lambda_gradients"][name][slot] != 0.0
    assert awake > 10


def test_processes_that_differ_are_told_at_the_next_event(launched):
    _, done = launched
    assert done.returncode != 0
    assert "The 2 processes hold different adapters after the event of step 5" in done.stderr


def test_storage_that_may_grow_is_refused_by_both(launched):
    folder, done = launched
    for rank in (0, 1):
        assert (folder / f"unbounded{rank}.txt").exists(), done.stderr[-3000:]
        told = (folder / f"unbounded{rank}.txt").read_text()
        assert "2 processes train this model: set max_rank, for example FlexLoRAConfig(max_rank=8)" in told
