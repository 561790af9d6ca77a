"""Two processes (gloo, CPU) whose base FSDP2 shards: the same adapter as under plain data parallelism."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from flexlora import FlexLoRAConfig, attach
from flexlora.errors import FlexLoRAError
from flexlora.integrations import Replicated
from tests.flexlora.test_distributed import free_port

SCRIPT = """
import json, os, random
from pathlib import Path
import torch
import torch.distributed as dist
from peft import PeftModel
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.nn.parallel import DistributedDataParallel
from transformers import LlamaConfig, LlamaForSequenceClassification
from flexlora import FlexLoRAConfig, attach
from flexlora.adapter_files import load_adapter
from flexlora.errors import FlexLoRAError
from flexlora.integrations import Recorder, Replicated
from flexlora.integrations.agreement import digest

dist.init_process_group("gloo")
rank, world = dist.get_rank(), dist.get_world_size()
mesh = init_device_mesh("cpu", (world,))

def make():
    torch.manual_seed(0)
    return LlamaForSequenceClassification(LlamaConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, intermediate_size=64, vocab_size=64, pad_token_id=0))

def batches(start, steps):
    generator = torch.Generator().manual_seed(10 + rank)
    ids = torch.randint(3, 60, (steps, 4, 8), generator=generator)
    return list(enumerate(ids, 1))[start:]

def train(kind, draw, stop=None, state=None):
    settings = FlexLoRAConfig(initial_rank=draw.randint(2, 4), max_rank=6, total_steps=16, warmup_steps=1,
        final_steps=2, interval=draw.randint(1, 3), initial_budget=draw.randint(1, 4), schedule="constant",
        modules_to_save=["score", "norm"] if kind == "mixed" else None)
    accumulated, checkpointing = draw.choice([1, 2]), draw.random() < 0.5
    model = make()
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": draw.random() < 0.5})
        model.enable_input_require_grads()
    adapter = attach(model, settings)
    adapter.reserve(6)
    if state:
        for parameter, value in zip(adapter.trainable_parameters(), state["parameters"], strict=True):
            parameter.data.copy_(value)
        for matrix, (slots, mask) in zip(adapter.matrices.values(), state["slots"], strict=True):
            matrix.slots = list(slots)
            matrix.mask.copy_(mask)
    net, replicated = model, None
    if kind in ("sharded", "mixed"):
        replicated = Replicated(adapter)
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16) if kind == "mixed" else MixedPrecisionPolicy()
        how = {"mesh": mesh, "ignored_params": set(replicated.parameters()), "mp_policy": policy}
        for layer in model.model.layers:
            fully_shard(layer, **how)
        fully_shard(model, **how)
    else:
        net = DistributedDataParallel(model, find_unused_parameters=False)
    optimizer = torch.optim.AdamW(adapter.trainable_parameters(), lr=1e-2, weight_decay=0.0)
    seen = []
    with Recorder(adapter, optimizer, settings, None) as recorder:
        start = 0
        if state:
            optimizer.load_state_dict(state["optimizer"])
            recorder.restore(state["recorder"])
            start = state["step"]
        for step, ids in batches(start, 16):
            for part in ids.chunk(accumulated):
                loss = net(input_ids=part, labels=part[:, 0] % 2).loss / accumulated
                loss.backward()
            torch.nn.utils.clip_grad_norm_(adapter.trainable_parameters(), 1.0)
            regularizer = adapter.add_regularization_gradient()
            optimizer.step()
            recorder.step(step, loss, regularizer)
            optimizer.zero_grad()
            seen.append([digest(adapter), loss.item()])
            if step == stop:
                return {"step": step, "optimizer": optimizer.state_dict(), "recorder": recorder.state(),
                        "parameters": [p.detach().clone() for p in adapter.trainable_parameters()],
                        "slots": [(list(m.slots), m.mask.clone()) for m in adapter.matrices.values()]}
    return adapter, seen, model

found = {}
for number in range(3):
    seed = int(os.environ["DRAW"]) + number
    plain, told, _ = train("plain", random.Random(seed))
    sharded, also, model = train("sharded", random.Random(seed))
    weight = model.model.layers[0].self_attn.q_proj.base.weight
    mixed = train("mixed", random.Random(seed))[1]
    half = train("sharded", random.Random(seed), stop=8)
    again = train("sharded", random.Random(seed), state=half)[1]
    found[seed] = {
        "resumed": again, "mixed": mixed,
        "plain": told, "sharded": also, "held": weight.to_local().numel(), "whole": weight.numel(),
        "ranks": [plain.ranks(), sharded.ranks()],
        "apart": max(float((a - b).abs().max().detach()) for a, b in
                     zip(plain.trainable_parameters(), sharded.trainable_parameters(), strict=True)),
    }
ids = batches(0, 1)[0][1]
with torch.no_grad():
    expected = model(input_ids=ids).logits
try:
    sharded.merge()
except FlexLoRAError as error:
    found["merge"] = str(error)
if rank == 0:
    sharded.save("own")
    sharded.export_peft("peft")
    with torch.no_grad():
        both = {"own": load_adapter(make(), "own").model, "peft": PeftModel.from_pretrained(make(), "peft")}
        for name, again in both.items():
            found[name] = float((again(input_ids=ids).logits - expected).abs().max())
Path(f"found{rank}.json").write_text(json.dumps(found))
dist.destroy_process_group()
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sharded")
    (folder / "train.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", free_port()]
    draw = str(torch.randint(0, 10_000, (1,)).item())
    own = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(
        [*command, "train.py"],
        cwd=folder, env={**os.environ, **own, "DRAW": draw}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert (folder / "found1.json").exists(), done.stderr[-3000:]
    return [json.loads((folder / f"found{rank}.json").read_text()) for rank in (0, 1)]


def draws(found):
    return {key: value for key, value in found[0].items() if key.isdigit()}


def test_every_process_holds_the_same_adapter_after_every_step(found):
    for key, first in draws(found).items():
        second = found[1][key]
        assert [digest for digest, _ in first["sharded"]] == [digest for digest, _ in second["sharded"]], key


def test_a_sharded_base_trains_what_plain_data_parallelism_trains(found):
    for key, one in draws(found).items():
        assert one["ranks"][0] == one["ranks"][1], key
        assert one["apart"] < 1e-4, key
        for (_, plain), (_, sharded) in zip(one["plain"], one["sharded"], strict=True):
            assert abs(plain - sharded) < 1e-4, key


def test_a_sharded_run_is_resumed_bit_for_bit(found):
    for one in draws(found).values():
        assert one["resumed"] == one["sharded"][8:]


def test_a_base_that_is_cast_gives_heads_and_norms_what_they_compute_with(found):
    for key, one in draws(found).items():
        assert [digest for digest, _ in one["mixed"]] == [digest for digest, _ in found[1][key]["mixed"]], key
        assert all(abs(plain - mixed) < 0.1 for (_, plain), (_, mixed) in zip(one["plain"], one["mixed"], strict=True))


def test_each_process_holds_its_share_of_the_base(found):
    for one in draws(found).values():
        assert one["held"] * 2 == one["whole"]


def test_it_is_saved_and_exported_from_sharded_state_and_not_merged(found):
    assert found[0]["own"] < 1e-5 and found[0]["peft"] < 1e-5
    assert "sharded over processes" in found[0]["merge"]


def test_one_process_is_told_how_to_start_several():
    adapter = attach(nn.Sequential(nn.Linear(8, 8)), FlexLoRAConfig(initial_rank=2, total_steps=4))
    with pytest.raises(FlexLoRAError, match="torchrun"):
        Replicated(adapter)
