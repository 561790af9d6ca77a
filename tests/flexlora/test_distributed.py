"""Two processes of one job (gloo, CPU): the same adapter in both, bit for bit, after every event."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from analysis.runs import load_run

SCRIPT = """
import json, os, sys
from pathlib import Path
import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainerCallback, TrainingArguments
from flexlora import FlexLoRAConfig
from flexlora.integrations import FlexLoRACallback
from flexlora.integrations.agreement import digest

folder, case = Path(sys.argv[1]), sys.argv[2]
rank = int(os.environ["RANK"])
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

max_rank = None if case == "unbounded" else 8
config = FlexLoRAConfig(initial_rank=4, max_rank=max_rank, warmup_steps=2, final_steps=4, interval=3,
                        initial_budget=4, schedule="constant")
callback = FlexLoRACallback(model, config, folder / "run")
args = TrainingArguments(str(folder / "out"), max_steps=24, per_device_train_batch_size=4, learning_rate=5e-3,
    save_strategy="no", report_to=[], disable_tqdm=True, use_cpu=True, ddp_backend="gloo", dataloader_pin_memory=False)
Trainer(model=model, args=args, train_dataset=rows, callbacks=[Watch(), callback]).train()
(folder / f"rank{rank}.json").write_text(json.dumps(found))
"""


def launch(folder, case, port):
    script = folder / "train.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", str(port)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    return subprocess.run(
        [*command, str(script), str(folder), case],
        capture_output=True, text=True, timeout=300, env=environment, check=False,
    )  # fmt: skip


def free_port():
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    done = launch(folder, "plain", free_port())
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, [json.loads((folder / f"rank{rank}.json").read_text()) for rank in (0, 1)]


def test_both_processes_hold_the_same_adapter_after_every_step(two):
    folder, (first, second) = two
    assert [step["digest"] for step in first] == [step["digest"] for step in second]
    run = load_run(folder / "run")
    assert run.state == "finished" and len(run.events) == 5
    assert sum(len(event["extend"]) for event in run.events) > 6
    assert run.config["processes"] == 2


def test_gradients_of_activated_slots_are_synchronised(two):
    folder, (first, second) = two
    activated = [(e["step"], m["matrix"], m["slot"]) for e in load_run(folder / "run").events for m in e["extend"]]
    awake = 0
    for step, name, slot in activated:
        for mine, its in zip(first[step:], second[step:], strict=True):
            if slot not in mine["slots"][name]:
                break
            assert mine["lambda_gradients"][name][slot] == its["lambda_gradients"][name][slot]
            awake += mine["lambda_gradients"][name][slot] != 0.0
    assert awake > 10


def test_processes_that_differ_are_told_at_the_next_event(tmp_path):
    done = launch(tmp_path, "diverged", free_port())
    assert done.returncode != 0
    assert "The 2 processes hold different adapters after the event of step 5" in done.stderr


def test_storage_that_may_grow_is_refused(tmp_path):
    done = launch(tmp_path, "unbounded", free_port())
    assert done.returncode != 0
    assert "2 processes train this model: set max_rank, for example FlexLoRAConfig(max_rank=8)" in done.stderr
