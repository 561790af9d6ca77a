"""Make the weights of task ``digits``: ``python benchmarks/pretrain_digits.py --out flexlora/tasks/weights``."""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as save_tensors
from transformers import ViTForImageClassification

from flexlora.tasks.data import Split, batch_indices, evaluate_classifier
from flexlora.tasks.digits import ARCHITECTURE, PRETRAINED_DIGITS, WEIGHTS_NAME, build_model, split_images

STEPS = 600
BATCH_SIZE = 32
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 0.05
SEED = 0
HELD_OUT = 150


def main(arguments: Sequence[str] | None = None) -> int:
    """Train on one thread, write the weights and the facts about them, return the exit status."""
    parser = argparse.ArgumentParser(prog="python benchmarks/pretrain_digits.py", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the weights and their description")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"optimizer steps (default {STEPS})")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    model, accuracy = pretrain(options.steps)
    facts = write_weights(model, options.out, options.steps, accuracy)
    sys.stdout.write(json.dumps(facts) + "\n")
    return 0


def pretrain(steps: int) -> tuple[ViTForImageClassification, float]:
    """Return a classifier of the digits 0 to 4 and its accuracy on held-out images of them."""
    splits = split_images(PRETRAINED_DIGITS, HELD_OUT, 0)
    model = build_model(SEED, len(PRETRAINED_DIGITS))
    _train(model, splits["train"], steps)
    return model, evaluate_classifier(model, splits["test"])["accuracy"]


def write_weights(model: ViTForImageClassification, folder: Path, steps: int, accuracy: float) -> dict[str, Any]:
    """Write everything but the head as safetensors, and beside it a JSON of facts; return the facts."""
    content = save_tensors({name: tensor.contiguous() for name, tensor in model.base_model.state_dict().items()})
    facts = {
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "architecture": ARCHITECTURE,
        "digits": list(PRETRAINED_DIGITS),
        "held_out_accuracy": accuracy,
        "held_out_images": HELD_OUT,
        "steps": steps,
        "batch_size": BATCH_SIZE,
        "learning_rate": LEARNING_RATE,
        "weight_decay": WEIGHT_DECAY,
        "seed": SEED,
        "command": "python benchmarks/pretrain_digits.py --out flexlora/tasks/weights",
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "transformers", "scikit-learn", "numpy")},
        },
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{WEIGHTS_NAME}.safetensors").write_bytes(content)
    (folder / f"{WEIGHTS_NAME}.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    return facts


def _train(model: ViTForImageClassification, train: Split, steps: int) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps, pct_start=0.1)
    model.train()
    for step in range(1, steps + 1):
        model(**train.batch(batch_indices(len(train), BATCH_SIZE, step, SEED))).loss.backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()


if __name__ == "__main__":
    sys.exit(main())
