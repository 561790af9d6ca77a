"""Two processes (gloo, CPU) whose steps DeepSpeed makes, ZeRO 1 and 2: the adapter of plain data parallelism."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate.utils.deepspeed import HfDeepSpeedConfig
from torch import nn

from analysis.runs import load_run
from flexlora import FlexLoRAConfig, attach
from flexlora.errors import FlexLoRAError
from flexlora.integrations import ZeroOptimizer
from flexlora.integrations.zero_trainer import check_deepspeed
from tests.flexlora.test_distributed import free_port

BEGIN = """
import json, os, random, sys
from pathlib import Path
import deepspeed
import torch
import torch.distributed as dist
from flexlora import FlexLoRAConfig, attach
from flexlora.errors import FlexLoRAError
from flexlora.integrations import FlexLoRACallback, Recorder, ZeroOptimizer
from flexlora.integrations.agreement import digest

# On CPUs it would compile an operation of its own, for processes on one host.
deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
deepspeed.init_distributed(dist_backend="gloo", verbose=False)
rank, folder = dist.get_rank(), Path.cwd()
"""
LOOP = """
from accelerate import Accelerator
from accelerate.utils import DeepSpeedOptimizerWrapper
from torch.nn.parallel import DistributedDataParallel
from peft import PeftModel
from transformers import LlamaConfig, LlamaForSequenceClassification
from flexlora.adapter_files import load_adapter

Accelerator(cpu=True)

def make():
    torch.manual_seed(0)
    return LlamaForSequenceClassification(LlamaConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, intermediate_size=64, vocab_size=64, pad_token_id=0))

ids = torch.randint(3, 60, (14, 4, 8), generator=torch.Generator().manual_seed(10 + rank))

def train(seed, stage=0, bf16=False, stop=None, resume=None):
    draw = random.Random(seed)
    settings = FlexLoRAConfig(initial_rank=draw.randint(2, 4), max_rank=6, total_steps=14, warmup_steps=1,
        final_steps=2, interval=draw.randint(1, 3), initial_budget=draw.randint(1, 4), schedule="constant",
        importance=draw.choice(["spectral_entropy", "sensitivity"]),
        optimizer_at_event="reset" if draw.random() < 0.2 else "keep")
    accumulated, clip, groups = draw.choice([1, 2]), draw.choice([0.0, 0.1, 1.0]), draw.choice([1, 2])
    model = make()
    adapter = attach(model, settings)
    adapter.reserve(6)
    parts = [adapter.trainable_parameters()]
    if groups == 2:
        parts = [adapter.head_parameters() + adapter.parameters()[::2], adapter.parameters()[1::2]]
    net = optimizer = torch.optim.AdamW([{"params": part} for part in parts], lr=1e-2, weight_decay=0.0)
    if stage:
        config = {"train_micro_batch_size_per_gpu": 4 // accumulated, "gradient_accumulation_steps": accumulated,
                  "gradient_clipping": clip, "bf16": {"enabled": bf16}, "steps_per_print": None,
                  "zero_optimization": {"stage": stage}}
        net, zero, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=config)
        optimizer = ZeroOptimizer(adapter, DeepSpeedOptimizerWrapper(zero) if seed % 2 else zero)
    else:
        net = DistributedDataParallel(model)
    start, seen = 0, []
    if resume:
        _, kept = net.load_checkpoint(resume, load_module_strict=False)
        start = kept["step"]
    with Recorder(adapter, optimizer, settings, None) as recorder:
        if resume:
            recorder.restore(kept["recorder"])
        for step in range(start + 1, 15):
            total = 0.0
            for part in ids[step - 1].chunk(accumulated):
                loss = net(input_ids=part, labels=part[:, 0] % 2).loss
                total += loss.item() / accumulated
                if stage:
                    net.backward(loss)
                    net.step()
                else:
                    (loss / accumulated).backward()
            if stage:
                regularizer = optimizer.regularizer
            else:
                if clip:
                    torch.nn.utils.clip_grad_norm_(adapter.trainable_parameters(), clip)
                regularizer = adapter.add_regularization_gradient()
                optimizer.step()
            plan = recorder.step(step, total, regularizer)
            optimizer.zero_grad()
            lam = [value for own in adapter.singular_values().values() for value in own.tolist()]
            moved = [] if plan is None else [plan.prune, plan.extend]
            seen.append({"digest": digest(adapter), "loss": total, "regularizer": regularizer.item(), "lam": lam,
                         "moved": json.loads(json.dumps(moved))})
            if step == stop:
                net.save_checkpoint("half", client_state={"step": step, "recorder": recorder.state()},
                                    exclude_frozen_parameters=True)
                return None
    return seen, model, adapter, optimizer

found = {}
for number in range(2):
    seed = int(os.environ["DRAW"]) + number
    stage, bf16 = 1 + seed % 2, bool(number)
    told, model, adapter, zero = train(seed, stage, bf16)
    train(seed, stage, bf16, stop=7)
    found[seed] = {"zero": told, "plain": None if bf16 else train(seed)[0], "bf16": bf16,
                   "resumed": train(seed, stage, bf16, resume="half")[0]}
    if not bf16:
        adapter.save(f"own{rank}")
        adapter.export_peft(f"peft{rank}")
        with torch.no_grad():
            expected = model(input_ids=ids[0]).logits
            both = {"own": load_adapter(make(), f"own{rank}").model,
                    "peft": PeftModel.from_pretrained(make(), f"peft{rank}")}
            found["saved"] = {name: float((again(input_ids=ids[0]).logits - expected).abs().max())
                              for name, again in both.items()}
    else:
        lam = next(iter(adapter.matrices.values())).lam
        narrow = lam.dtype, lam.detach().clone()
        with zero.whole():
            wide = lam.dtype, lam.detach().clone()
        found["wide"] = [str(narrow[0]), str(wide[0]), bool((wide[1].bfloat16() == narrow[1]).all()),
                         bool((lam == narrow[1]).all())]

def refusal(attempt):
    try:
        attempt()
    except FlexLoRAError as error:
        return str(error)

def engine_of(stage, **more):
    adapter = attach(make(), FlexLoRAConfig(initial_rank=2, max_rank=6, total_steps=4))
    adapter.reserve(more.pop("reserved", 6))
    config = {"train_micro_batch_size_per_gpu": 4, "zero_optimization": {"stage": stage, **more}}
    known = torch.optim.AdamW(adapter.trainable_parameters(), lr=1e-2)
    zero = deepspeed.initialize(model=adapter.model, optimizer=known, config=config)[1]
    return adapter, zero

found["refused"] = {
    "room": refusal(lambda: ZeroOptimizer(*engine_of(2, reserved=2))),
    "plain": refusal(lambda: ZeroOptimizer(*engine_of(0))),
    "turns": refusal(lambda: ZeroOptimizer(*engine_of(2, round_robin_gradients=True))),
    "third": refusal(lambda: ZeroOptimizer(*engine_of(3))),
}
Path(f"loop{rank}.json").write_text(json.dumps(found))
"""
TRAINER = """
import peft
from flexlora.peft import FlexLoRACallback as PeftCallback, FlexLoRAConfig as PeftConfig
from accelerate.state import AcceleratorState, PartialState
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainerCallback, TrainingArguments

def trained(name, deepspeed=None, resume=None, through_peft=False, **more):
    torch.manual_seed(0)
    model = BertForSequenceClassification(BertConfig(vocab_size=60, hidden_size=32, num_hidden_layers=2,
        num_attention_heads=2, intermediate_size=64, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0))
    generator = torch.Generator().manual_seed(3)
    rows = [{"input_ids": torch.randint(3, 30, (8,), generator=generator) + 25 * (i % 2), "labels": i % 2}
            for i in range(64)]
    seen = []

    class Watch(TrainerCallback):
        def on_step_end(self, args, state, control, **more):
            seen.append(digest(callback.adapter))

    settings = {"max_rank": 8, "warmup_steps": 1, "final_steps": 2, "interval": 2, "initial_budget": 4,
                "schedule": "constant"}
    if through_peft:
        model = peft.get_peft_model(model, PeftConfig(r=4, task_type="SEQ_CLS", **settings))
        callback = PeftCallback(folder / name)
    else:
        callback = FlexLoRACallback(model, FlexLoRAConfig(initial_rank=4, **settings), folder / name)
    os.environ.pop("ACCELERATE_USE_DEEPSPEED", None)
    AcceleratorState._reset_state(reset_partial_state=True)
    if deepspeed:
        # accelerate knows no DeepSpeed of several processes on CPUs unless it is told of one.
        os.environ["ACCELERATE_USE_DEEPSPEED"] = "true"
        PartialState(backend="gloo")
        more |= {"deepspeed": deepspeed, "accelerator_config": {"use_configured_state": True}}
    args = TrainingArguments(str(folder / name / "out"), max_steps=12, per_device_train_batch_size=4,
        learning_rate=5e-3, save_strategy="steps", save_steps=6, report_to=[], disable_tqdm=True,
        use_cpu=not deepspeed, ddp_backend="gloo", logging_steps=1000, gradient_accumulation_steps=2,
        max_grad_norm=0.1, dataloader_pin_memory=False, **more)
    trainer = Trainer(model=model, args=args, train_dataset=rows, callbacks=[callback, Watch()])
    trainer.train(resume_from_checkpoint=resume)
    return seen

auto = dict.fromkeys(["train_micro_batch_size_per_gpu", "gradient_accumulation_steps", "gradient_clipping"], "auto")
config = {**auto, "zero_optimization": {"stage": 2}}
trained("ddp")
found = {"zero": trained("zero", config),
         "resumed": trained("zero", config, resume=str(folder / "zero" / "out" / "checkpoint-6")),
         "peft": trained("peft", config, through_peft=True),
         "peft_resumed": trained("peft", config, str(folder / "peft" / "out" / "checkpoint-6"), through_peft=True)}
try:
    trained("decayed", config, weight_decay=0.1)
except FlexLoRAError as error:
    found["decayed"] = str(error)
Path(f"trainer{rank}.json").write_text(json.dumps(found))
dist.destroy_process_group()
"""

needs_deepspeed = pytest.mark.skipif(importlib.util.find_spec("deepspeed") is None, reason="pip install deepspeed")


@pytest.fixture(scope="module")
def launched(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zero")
    (folder / "train.py").write_text(BEGIN + LOOP + TRAINER)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", free_port()]
    own = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "GLOO_SOCKET_IFNAME": "lo"}
    draw = str(torch.randint(0, 10_000, (1,)).item())
    done = subprocess.run(
        [*command, "train.py"],
        cwd=folder, env={**os.environ, **own, "DRAW": draw}, capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip
    return folder, done


@pytest.fixture
def found(launched):
    folder, done = launched
    assert (folder / "loop1.json").exists(), done.stderr[-3000:]
    return [json.loads((folder / f"loop{rank}.json").read_text()) for rank in (0, 1)]


def draws(found):
    return {key: value for key, value in found[0].items() if key.isdigit()}


@needs_deepspeed
def test_every_process_holds_the_same_adapter_after_every_step(found):
    for key, first in draws(found).items():
        assert [step["digest"] for step in first["zero"]] == [step["digest"] for step in found[1][key]["zero"]], key
        assert any(step["moved"] and any(step["moved"]) for step in first["zero"]), key


@needs_deepspeed
def test_partitions_train_what_plain_data_parallelism_trains(found):
    compared = [key for key, one in draws(found).items() if not one["bf16"]]
    assert compared
    for key in compared:
        for one in (ranks[key] for ranks in found):
            for plain, zero in zip(one["plain"], one["zero"], strict=True):
                assert plain["moved"] == zero["moved"], key
                for name in ("loss", "regularizer", "lam"):
                    np.testing.assert_allclose(plain[name], zero[name], atol=1e-5, err_msg=f"{key} {name}")


@needs_deepspeed
def test_a_checkpoint_of_the_engine_goes_on_bit_for_bit(found):
    for one in (value for ranks in found for key, value in ranks.items() if key.isdigit()):
        assert one["resumed"] == one["zero"][7:]


@needs_deepspeed
def test_it_is_saved_and_exported(found):
    assert found[0]["saved"]["own"] < 1e-5 and found[0]["saved"]["peft"] < 1e-5


@needs_deepspeed
def test_under_bf16_the_copies_are_wide_where_they_are_whole(found):
    assert found[0]["wide"] == ["torch.bfloat16", "torch.float32", True, True]


@needs_deepspeed
@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("room", "adapter.reserve(6) before the optimizer"),
        ("plain", "with ZeRO stage 1 or 2, not"),
        ("turns", "With round_robin_gradients DeepSpeed 0.19 tells wrong ones"),
        ("third", "ZeRO 3 cuts up the parameters"),
    ],
)
def test_what_cannot_be_followed_is_refused(found, case, told):
    assert told in found[0]["refused"][case]


@needs_deepspeed
def test_under_the_trainer_it_is_plain_data_parallelism_and_resumed(launched):
    folder, done = launched
    assert (folder / "trainer1.json").exists(), done.stderr[-3000:]
    first, second = (json.loads((folder / f"trainer{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    assert first["resumed"] == first["zero"][6:] and len(first["resumed"]) == 6
    assert first["peft"] == first["zero"] and first["peft_resumed"] == first["peft"][6:]
    assert "set weight_decay=0" in first["decayed"]
    plain, zero = (load_run(folder / name) for name in ("ddp", "zero"))
    assert plain.state == zero.state == "finished" and len(zero.events) > 3
    for key in ("prune", "extend"):
        assert [[m["matrix"] for m in event[key]] for event in plain.events] == [
            [m["matrix"] for m in event[key]] for event in zero.events
        ]
    for name in ("task_loss", "regularizer", "learning_rate"):
        np.testing.assert_allclose(plain.log.steps[name], zero.log.steps[name], atol=1e-5, err_msg=name)
    frozen = sum(path.stat().st_size for path in (folder / "zero" / "out" / "checkpoint-6").rglob("*model*"))
    assert frozen < 200_000


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"zero_optimization": {"stage": 3}}, "has stage 3"),
        ({"zero_optimization": {"stage": 0}}, "has stage 0"),
        ({"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu"}}}, "offload to cpu"),
        ({"zero_optimization": {"stage": 1}, "fp16": {"enabled": True}}, "fp16 under ZeRO"),
    ],
)
def test_settings_that_cannot_be_followed_are_refused_before_training(settings, told):
    def arguments(config):
        return SimpleNamespace(deepspeed_plugin=SimpleNamespace(hf_ds_config=HfDeepSpeedConfig(config)))

    with pytest.raises(FlexLoRAError, match=told):
        check_deepspeed(arguments(settings))
    check_deepspeed(arguments({"zero_optimization": {"stage": 2}, "bf16": {"enabled": True}}))
    check_deepspeed(SimpleNamespace(deepspeed_plugin=None))


def test_another_optimizer_is_told_what_is_wanted():
    adapter = attach(nn.Sequential(nn.Linear(8, 8)), FlexLoRAConfig(initial_rank=2, total_steps=4))
    with pytest.raises(FlexLoRAError, match=r"the second value of deepspeed\.initialize"):
        ZeroOptimizer(adapter, torch.optim.AdamW(adapter.parameters()))
    kind = type("DeepSpeedZeroOptimizer", (SimpleNamespace,), {})
    wrapper = type("DeepSpeedOptimizerWrapper", (SimpleNamespace,), {})
    with pytest.raises(FlexLoRAError, match="offload"):
        ZeroOptimizer(adapter, wrapper(optimizer=kind(cpu_offload=True)))
    refused = {"offload": {"cpu_offload": True}, "fp16 under ZeRO": {"dtype": torch.float16}, "set max_rank": {}}
    for told, settings in refused.items():
        with pytest.raises(FlexLoRAError, match=told):
            ZeroOptimizer(adapter, kind(**settings))
