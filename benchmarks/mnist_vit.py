"""Pretrain a small vision transformer on the digits 0 to 4 of MNIST, and lay out 5 to 9 to adapt it to.

    python benchmarks/mnist_vit.py --data data/MNIST_t10k --out data/mnist_vit --device cuda
    python -m flexlora.study benchmarks/studies/real_image.yaml

``--data`` holds MNIST's own test set, ``t10k-images-idx3-ubyte.gz`` and ``t10k-labels-idx1-ubyte.gz`` (10,000 images;
it does not come with this project). The model is ours and small: nothing here is the paper's vision setting.
"""

from __future__ import annotations

import argparse
import gzip
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import ViTConfig, ViTForImageClassification

from flexlora.tasks.data import Split, batch_indices, evaluate_classifier
from flexlora.tasks.files import fixed_order

ARCHITECTURE = {
    "image_size": 28,
    "patch_size": 4,
    "num_channels": 1,
    "hidden_size": 96,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "intermediate_size": 384,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
"""49 patches and a class token, 36 linear layers, 0.7 million parameters."""
PRETRAINED, NEW = (0, 1, 2, 3, 4), (5, 6, 7, 8, 9)
HELD_OUT = 500
SIZES = {"train": 1000, "validation": 500}
"""Images of the new digits; the rest is the test set."""
SALT = "flexlora-lab mnist 1"
RATE, BATCH = 1e-3, 64


def read_images(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return images (10000, 28, 28) uint8 and labels (10000,) from MNIST's own format."""
    pixels = gzip.decompress((folder / "t10k-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((folder / "t10k-labels-idx1-ubyte.gz").read_bytes())
    return np.frombuffer(pixels, np.uint8, offset=16).reshape(-1, 28, 28), np.frombuffer(labels, np.uint8, offset=8)


def rows_of(labels: np.ndarray, digits: tuple[int, ...]) -> np.ndarray:
    """Return the rows of some digits in a fixed shuffled order."""
    return np.array(
        [int(row) for row in fixed_order([str(row) for row in np.flatnonzero(np.isin(labels, digits))], SALT)]
    )


def pretrain(images: np.ndarray, labels: np.ndarray, folder: Path, steps: int, device: str) -> float:
    """Train on the first digits, write the model, return its accuracy on held-out images of them."""
    rows = rows_of(labels, PRETRAINED)
    pixels = torch.from_numpy(images[rows].astype(np.float32) / 127.5 - 1.0).unsqueeze(1).to(device)
    target = torch.from_numpy(labels[rows].astype(np.int64))
    test = Split({"pixel_values": pixels[:HELD_OUT]}, target[:HELD_OUT])
    train = Split({"pixel_values": pixels[HELD_OUT:]}, target[HELD_OUT:].to(device))
    torch.manual_seed(0)
    config = ViTConfig(**ARCHITECTURE)
    config.num_labels = len(PRETRAINED)
    model = ViTForImageClassification(config).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.1)
    for step in range(1, steps + 1):
        model(**train.batch(batch_indices(len(train), BATCH, step, 0))).loss.backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    return evaluate_classifier(model, test)["accuracy"]


def lay_out(images: np.ndarray, labels: np.ndarray, folder: Path) -> None:
    """Write the new digits as ``folder/SPLIT/DIGIT/ROW.png``, the layout of task ``image``."""
    rows = rows_of(labels, NEW)
    cuts = np.cumsum(list(SIZES.values()))
    for split, part in zip((*SIZES, "test"), np.split(rows, cuts), strict=True):
        for row in part:
            path = folder / split / str(labels[row]) / f"{row}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(images[row]).save(path)


def main() -> None:
    """Write model and images, print the accuracy on held-out images of the first digits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/MNIST_t10k"))
    parser.add_argument("--out", type=Path, default=Path("data/mnist_vit"))
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    images, labels = read_images(options.data)
    lay_out(images, labels, options.out / "images_5_to_9")
    model = options.out / "pretrained_here_on_0_to_4"
    accuracy = pretrain(images, labels, model, options.steps, options.device)
    print(json.dumps({"model": model.as_posix(), "held_out_accuracy": accuracy, "steps": options.steps}))


if __name__ == "__main__":
    main()
