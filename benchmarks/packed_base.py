"""QLoRA on a GPU: are packed bases trained, exported and loaded again by PEFT to the same logits; does fp16 train?

    python benchmarks/packed_base.py
    python benchmarks/packed_base.py --device cpu --hidden 64

A Llama from its configuration whose body is bitsandbytes' in 4 bits (nf4) or 8, trained by ``Recorder`` with an event
every fifth step; then exported, and loaded by PEFT beside a base made anew. What is printed is the largest difference
of a logit beside the largest logit, and what rounding alone does: 8-bit layers round what enters them to whole numbers,
and a last bit can turn one. Last, the Trainer with fp16 and its gradient scaler: the losses of its log beside
those of bf16.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

from analysis.runs import load_run
from flexlora import FlexLoRAConfig, attach
from flexlora.integrations import FlexLoRACallback, Recorder

TARGETS = ("q_proj", "k_proj", "v_proj", "up_proj", "down_proj")


def make_base(bits: int | None, options: argparse.Namespace) -> LlamaForCausalLM:
    """Return the same base at each call, its body packed to ``bits`` (None = plain fp32)."""
    torch.manual_seed(0)
    hidden = options.hidden
    config = LlamaConfig(
        hidden_size=hidden, num_hidden_layers=4, num_attention_heads=8, num_key_value_heads=4, vocab_size=1000,
        intermediate_size=3 * hidden, tie_word_embeddings=False,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    if bits:
        for name, module in list(model.named_modules()):
            if type(module) is nn.Linear and ".layers." in name:
                parent, _, leaf = name.rpartition(".")
                setattr(model.get_submodule(parent), leaf, _packed(module, bits))
        setattr(model, f"is_loaded_in_{bits}bit", True)
    return model.to(options.device)


def _packed(module: nn.Linear, bits: int) -> nn.Module:
    from bitsandbytes import nn as packed

    shape = (module.in_features, module.out_features, False)
    if bits == 4:
        layer = packed.Linear4bit(*shape, compute_dtype=torch.float32, quant_type="nf4")
    else:
        layer = packed.Linear8bitLt(*shape, has_fp16_weights=False)
    layer.load_state_dict(module.state_dict())
    return layer


def train_packed(bits: int, options: argparse.Namespace) -> None:
    """Train on a packed base, export, load by PEFT, and print how far the logits are apart."""
    settings = FlexLoRAConfig(
        initial_rank=8, max_rank=12, interval=5, warmup_steps=5, final_steps=5, total_steps=60, target_modules=TARGETS
    )
    tokens = batch(options)
    adapter = attach(make_base(bits, options), settings)
    adapter.model.to(options.device)
    optimizer = torch.optim.AdamW(adapter.trainable_parameters(), lr=3e-3)
    losses = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with Recorder(adapter, optimizer, settings, folder / "run") as recorder:
            for step in range(1, settings.total_steps + 1):
                loss = adapter.model(input_ids=tokens, labels=tokens).loss
                loss.backward()
                regularizer = adapter.add_regularization_gradient()
                optimizer.step()
                recorder.step(step, loss, regularizer)
                optimizer.zero_grad()
                losses.append(loss.item())
        exported = adapter.export_peft(folder / "peft")
        loaded = PeftModel.from_pretrained(make_base(bits, options), str(exported)).eval()
    adapter.model.eval()
    with torch.no_grad():
        ours, theirs = adapter.model(input_ids=tokens).logits, loaded(input_ids=tokens).logits
        for parameter in adapter.trainable_parameters():
            parameter.mul_(1 + 2**-22)
        shaken = adapter.model(input_ids=tokens).logits
    ranks = sorted(set(adapter.ranks().values()))
    print(
        f"{bits} bits: loss {losses[0]:.3f} to {losses[-1]:.3f}, ranks {ranks[0]} to {ranks[-1]}; logits differ by "
        f"{(ours - theirs).abs().max():.1e} at most of {ours.abs().max():.1f}, and by "
        f"{(ours - shaken).abs().max():.1e} where what was trained is changed in its last bits",
        flush=True,
    )


def train_scaled(options: argparse.Namespace) -> None:
    """Train under the Trainer in fp16 with its scaler and in bf16, and print the losses of both logs."""
    settings = FlexLoRAConfig(
        initial_rank=8, max_rank=12, interval=5, warmup_steps=5, final_steps=5, total_steps=60, target_modules=TARGETS
    )
    rows = [{"input_ids": row, "labels": row} for row in batch(options, 64).cpu()]
    for precision in ("bf16", "fp16"):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            model = make_base(None, options)
            args = TrainingArguments(
                str(folder / "out"), max_steps=60, per_device_train_batch_size=8, report_to=[], save_strategy="no",
                disable_tqdm=True, learning_rate=1e-3, logging_steps=1000, **{precision: True},
            )  # fmt: skip
            callback = FlexLoRACallback(model, settings, folder / "run")
            Trainer(model=model, args=args, train_dataset=rows, callbacks=[callback]).train()
            run = load_run(folder / "run")
            losses = run.metrics["loss"][1]
            print(
                f"{precision}: logged loss {losses[:5].mean():.4f} at first, {losses[-5:].mean():.4f} at last, "
                f"{len(run.events)} events",
                flush=True,
            )


def batch(options: argparse.Namespace, rows: int = 8) -> Tensor:
    """Return tokens (rows, 32), the same at each call."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(1, 1000, (rows, 32), generator=generator).to(options.device)


def main() -> None:
    """Try each and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--hidden", type=int, default=512)
    options = parser.parse_args()
    for bits in (4, 8):
        train_packed(bits, options)
    if options.device == "cuda":
        train_scaled(options)


if __name__ == "__main__":
    main()
