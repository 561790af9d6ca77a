"""What the callback costs under the Trainer: its share of a training step, logging, regulariser and events included.

    python benchmarks/trainer_cost.py --steps 60 --device cuda

DeBERTaV3-base's shape from its configuration (random weights, a small vocabulary: time, never accuracy), 72 matrices,
rank 8, an event every fifth step in the window. The device is synchronised around every call of the callback, so that
nothing it starts is counted elsewhere; the share is of the time between the beginnings of two steps.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from transformers import DebertaV2Config, DebertaV2ForSequenceClassification, Trainer, TrainingArguments

from flexlora import FlexLoRAConfig
from flexlora.integrations import FlexLoRACallback


class Timed(FlexLoRACallback):
    """The callback with a clock around what it does in a step."""

    own: float = 0.0
    times: list[tuple[float, float]]
    parts: dict[str, list[float]]

    def on_step_begin(self, *args, **more):
        """Note when the step began, and what was spent until then."""
        self.times.append((time.perf_counter(), self.own))
        super().on_step_begin(*args, **more)

    def on_pre_optimizer_step(self, *args, **more):
        """Count the regulariser."""
        self._count("regulariser", super().on_pre_optimizer_step, *args, **more)

    def on_optimizer_step(self, args, state, control, **more):
        """Count logging and allocation."""
        event = self.config.is_event(state.global_step + 1)
        self._count("event" if event else "logging", super().on_optimizer_step, args, state, control, **more)

    def _count(self, part, call, *args, **more):
        _synchronize()
        began = time.perf_counter()
        call(*args, **more)
        _synchronize()
        self.parts[part].append(time.perf_counter() - began)
        self.own += self.parts[part][-1]


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def main() -> None:
    """Train, and print the share."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options = parser.parse_args()
    torch.manual_seed(0)
    shape = DebertaV2Config(
        vocab_size=1000, hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072,
        relative_attention=True, pos_att_type=["p2c", "c2p"], share_att_key=True, position_buckets=256,
        norm_rel_ebd="layer_norm", position_biased_input=False, type_vocab_size=0,
    )  # fmt: skip
    model = DebertaV2ForSequenceClassification(shape)
    rows = [{"input_ids": torch.randint(1, 1000, (options.tokens,)), "labels": n % 2} for n in range(256)]
    with tempfile.TemporaryDirectory() as folder:
        config = FlexLoRAConfig(initial_rank=8, interval=5, warmup_steps=5, final_steps=5)
        callback = Timed(model, config, Path(folder) / "run")
        callback.times, callback.parts = [], {"regulariser": [], "logging": [], "event": []}
        args = TrainingArguments(
            f"{folder}/out", max_steps=options.steps, per_device_train_batch_size=options.batch_size, report_to=[],
            save_strategy="no", disable_tqdm=True, learning_rate=1e-3, use_cpu=options.device == "cpu",
            bf16=options.device == "cuda", dataloader_pin_memory=False, logging_steps=1000,
        )  # fmt: skip
        Trainer(model=model, args=args, train_dataset=rows, callbacks=[callback]).train()
    warm = callback.times[min(10, options.steps // 3) :]
    whole = np.diff([began for began, _ in warm])
    own = np.diff([spent for _, spent in warm])
    print(f"{len(callback.adapter.matrices)} matrices, {options.batch_size} x {options.tokens}, {options.device}")
    print(f"step median {1e3 * np.median(whole):.1f} ms, callback median {1e3 * np.median(own):.2f} ms")
    shares = 100 * np.median(own / whole), 100 * own.sum() / whole.sum()
    print(f"callback share: median step {shares[0]:.2f} %, whole run {shares[1]:.2f} %")
    regulariser, logging, event = (1e3 * float(np.median(found[2:])) for found in callback.parts.values())
    print(f"regulariser {regulariser:.2f} ms, logging {logging:.2f} ms, an event {event:.2f} ms")
    step = 1e3 * float(np.median(whole))
    for interval in (5, 15, 75):
        own_ms = regulariser + logging + (event - logging) / interval
        print(f"an event every {interval} steps: {100 * own_ms / step:.2f} % of the median step")


if __name__ == "__main__":
    main()
