"""Two processes, one GPU each: do they agree bit for bit after every event, and what does a step cost beside one GPU?

    torchrun --nproc_per_node 2 benchmarks/two_gpus.py
    torchrun --nproc_per_node 1 benchmarks/two_gpus.py
    torchrun --nproc_per_node 2 benchmarks/two_gpus.py --sharded
    torchrun --nproc_per_node 2 benchmarks/two_gpus.py --zero2
    torchrun --nproc_per_node 2 benchmarks/two_gpus.py --backend gloo --hidden 32 --layers 2 --tokens 8

A BERT from its configuration (time and agreement, never accuracy) under the Trainer with the callback, and in a plain
loop with ``Recorder``. Each process hashes every bit of P, λ, Q and the masks after each event and at the end, and the
first one compares; the callback compares too and would stop. Batches are per process. ``--sharded`` shards the frozen
base by FSDP2 instead of keeping a copy in each process, ``--zero2`` has DeepSpeed make the steps, whose stage 2 shards
gradients, moments and fp32 copies of what is trained; memory is the most that was allocated.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainerCallback, TrainingArguments

from flexlora import FlexLoRAConfig, attach
from flexlora.integrations import FlexLoRACallback, Recorder, Replicated, ZeroOptimizer
from flexlora.integrations.agreement import digest


class Watch(TrainerCallback):
    """Hashes the adapter after each event; after ``FlexLoRACallback`` in the list, so that the event is over."""

    def __init__(self, callback: FlexLoRACallback) -> None:
        self.callback = callback
        self.hashes: list[str] = []
        self.began: list[float] = []

    def on_step_begin(self, *args: Any, **more: Any) -> None:
        """Note the time."""
        self.began.append(time.perf_counter())

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Hash what an event left."""
        if self.callback.config.is_event(state.global_step) or state.global_step == state.max_steps:
            self.hashes.append(digest(self.callback.adapter))


def make_model(options: argparse.Namespace) -> BertForSequenceClassification:
    """Return the same model in every process."""
    torch.manual_seed(0)
    hidden = options.hidden
    config = BertConfig(
        vocab_size=1000, hidden_size=hidden, num_hidden_layers=options.layers, num_attention_heads=max(1, hidden // 64),
        intermediate_size=4 * hidden,
    )  # fmt: skip
    return BertForSequenceClassification(config)


def with_trainer(
    options: argparse.Namespace, config: FlexLoRAConfig, folder: Path
) -> tuple[list[str], list[float], int]:
    """Train under the Trainer, and again from the checkpoint in the middle; return hashes, times and number of events.

    Raises:
        AssertionError: what was resumed ends in other bits, or what was exported is not what was trained.
    """
    callback, watch, times = _under_trainer(options, config, folder)
    resumed, again, _ = _under_trainer(options, config, folder, options.steps // 2)
    assert again.hashes == watch.hashes[-len(again.hashes) :], "the resumed run ends in other bits"
    # Every process takes part: the base is in all of them.
    exported = resumed.adapter.export_peft(folder / f"peft{dist.get_rank()}")
    if dist.get_rank() == 0:
        tensors = load_file(exported / "adapter_model.safetensors")
        rank = sum(len(tensor) for name, tensor in tensors.items() if "lora_A" in name)
        assert rank == sum(matrix.rank for matrix in callback.adapter.matrices.values())
        print(f"Trainer: resumed at step {options.steps // 2}, the same bits at its end; exported {rank} directions")
    return watch.hashes, times, len(callback.config.event_steps())


def _under_trainer(
    options: argparse.Namespace, config: FlexLoRAConfig, folder: Path, resume_at: int = 0
) -> tuple[FlexLoRACallback, Watch, list[float]]:
    model = make_model(options)
    generator = torch.Generator().manual_seed(1)
    rows = [
        {"input_ids": torch.randint(1, 1000, (options.tokens,), generator=generator), "labels": n % 2}
        for n in range(512)
    ]
    callback = FlexLoRACallback(model, config, folder / "trainer")
    watch = Watch(callback)
    args = TrainingArguments(
        str(folder / "out"), max_steps=options.steps, per_device_train_batch_size=options.batch_size, report_to=[],
        save_strategy="steps", save_steps=options.steps // 2, disable_tqdm=True, learning_rate=1e-3,
        use_cpu=options.backend == "gloo",
        bf16=options.backend == "nccl", logging_steps=1000, ddp_backend=options.backend, **_sharding(options),
    )  # fmt: skip
    trainer = Trainer(model=model, args=args, train_dataset=rows, callbacks=[callback, watch])
    trainer.train(resume_from_checkpoint=str(folder / "out" / f"checkpoint-{resume_at}") if resume_at else None)
    return callback, watch, list(np.diff(watch.began))


def with_recorder(
    options: argparse.Namespace, config: FlexLoRAConfig, folder: Path
) -> tuple[list[str], list[float], int]:
    """Train in a plain loop; return the hashes, the times of the steps and the number of events."""
    rank, device = dist.get_rank(), _device(options)
    adapter = attach(make_model(options), config)
    adapter.reserve(config.max_rank or config.initial_rank)
    adapter.model.to(device)
    if options.sharded:
        model = adapter.model
        ignored = set(Replicated(adapter).parameters())
        for layer in model.bert.encoder.layer:
            fully_shard(layer, ignored_params=ignored)
        fully_shard(model, ignored_params=ignored)
    elif not options.zero2:
        model = DistributedDataParallel(adapter.model, device_ids=[device] if device.type == "cuda" else None)
    optimizer = torch.optim.AdamW(adapter.trainable_parameters(), lr=1e-3, weight_decay=0.0)
    engine: Any = None
    if options.zero2:
        model, optimizer, engine = _by_engine(adapter, optimizer, options)
    generator = torch.Generator().manual_seed(10 + rank)
    hashes, times = [], []
    with Recorder(adapter, optimizer, config, None if rank else folder / "recorder") as recorder:
        for step in range(1, options.steps + 1):
            if step == 2 and device.type == "cuda":
                # A base is whole on its way to the shards.
                torch.cuda.reset_peak_memory_stats()
            began = time.perf_counter()
            tokens = torch.randint(1, 1000, (options.batch_size, options.tokens), generator=generator).to(device)
            loss = model(input_ids=tokens, labels=tokens[:, 0] % 2).loss
            if engine is not None:
                engine.backward(loss)
                engine.step()
                regularizer = optimizer.regularizer
            else:
                loss.backward()
                torch.nn.utils.clip_grad_norm_(adapter.trainable_parameters(), 1.0)
                regularizer = adapter.add_regularization_gradient()
                optimizer.step()
            recorder.step(step, loss, regularizer)
            if config.is_event(step) or step == options.steps:
                hashes.append(digest(adapter))
            optimizer.zero_grad()
            times.append(time.perf_counter() - began)
    return hashes, times, len(config.event_steps())


def _by_engine(adapter: Any, optimizer: Any, options: argparse.Namespace) -> tuple[Any, Any, Any]:
    import deepspeed

    if options.backend == "gloo":
        # Else it compiles an operation of its own for processes on one host.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    sizes = {"train_micro_batch_size_per_gpu": options.batch_size, "gradient_accumulation_steps": 1}
    settings = {**sizes, "gradient_clipping": 1.0, "zero_optimization": {"stage": 2}, "steps_per_print": None}
    engine, zero, *_ = deepspeed.initialize(model=adapter.model, optimizer=optimizer, config=settings)
    return engine, ZeroOptimizer(adapter, zero), engine


def _memory(options: argparse.Namespace) -> str:
    if options.backend != "nccl":
        return ""
    return f", {torch.cuda.max_memory_allocated() / 2**20:,.0f} MiB at the peak"


def _sharding(options: argparse.Namespace) -> dict[str, Any]:
    if options.zero2:
        auto = ("train_micro_batch_size_per_gpu", "gradient_accumulation_steps", "gradient_clipping")
        settings = {**dict.fromkeys(auto, "auto"), "bf16": {"enabled": "auto"}, "zero_optimization": {"stage": 2}}
        return {"deepspeed": settings}
    if not options.sharded:
        return {}
    config = {"fsdp_version": 2, "transformer_layer_cls_to_wrap": ["BertLayer"], "cpu_ram_efficient_loading": False}
    return {"fsdp": "full_shard auto_wrap", "fsdp_config": config}


def _device(options: argparse.Namespace) -> torch.device:
    return torch.device("cuda", dist.get_rank()) if options.backend == "nccl" else torch.device("cpu")


def main() -> None:
    """Train both ways and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", choices=("nccl", "gloo"), default="nccl")
    parser.add_argument("--sharded", action="store_true")
    parser.add_argument("--zero2", action="store_true", help="needs DeepSpeed: pip install deepspeed")
    parser.add_argument("--only", choices=("Recorder", "Trainer"), help="of the two ways")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--hidden", type=int, default=768)
    parser.add_argument("--layers", type=int, default=12)
    options = parser.parse_args()
    dist.init_process_group(options.backend)
    if options.backend == "nccl":
        torch.cuda.set_device(_device(options))
    config = FlexLoRAConfig(
        initial_rank=8, max_rank=12, interval=5, warmup_steps=5, final_steps=5, total_steps=options.steps
    )
    ways = {"Recorder": with_recorder, "Trainer": with_trainer}
    for name, train in ways.items() if options.only is None else [(options.only, ways[options.only])]:
        with tempfile.TemporaryDirectory() as scratch:
            shared = [scratch]
            dist.broadcast_object_list(shared)
            hashes, times, events = train(options, config, Path(shared[0]))
            dist.barrier()
        found: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(found, hashes)
        if dist.get_rank() == 0:
            same = all(other == found[0] for other in found)
            median = 1e3 * float(np.median(times[5:]))
            print(
                f"{name}, {options.backend}, {len(found)} processes: {events} events, {len(hashes)} hashes of each, "
                f"{'all the same' if same else 'THEY DIFFER'}; step median {median:.1f} ms{_memory(options)}",
                flush=True,
            )
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
