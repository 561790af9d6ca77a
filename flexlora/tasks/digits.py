"""``digits``: a toy. A tiny vision transformer that knows the digits 0 to 4 learns 5 to 9."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load as load_tensors
from transformers import ViTConfig, ViTForImageClassification

from flexlora.errors import FlexLoRAError
from flexlora.tasks.data import Split, TaskData, task_data
from flexlora.tasks.files import fixed_order, package_folder, read_verified

WEIGHTS = Path(__file__).parent / "weights"
WEIGHTS_NAME = "digits_vit"
PRETRAINED_DIGITS = (0, 1, 2, 3, 4)
NEW_DIGITS = (5, 6, 7, 8, 9)
TEST_IMAGES = 300
VALIDATION_IMAGES = 150
SPLIT_SALT = "flexlora-lab digits 1"
ARCHITECTURE: dict[str, Any] = {
    "image_size": 8,
    "patch_size": 2,
    "num_channels": 1,
    "hidden_size": 64,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "intermediate_size": 256,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
"""16 patches and a class token, 36 linear layers, 0.3 million parameters."""


def load(seed: int, control: str) -> TaskData:
    """Build the task; see ``flexlora.tasks.load_task``."""
    model = build_model(seed, len(NEW_DIGITS))
    facts = load_pretrained(model, WEIGHTS) if control != "random_base" else None
    return task_data(
        model,
        split_images(NEW_DIGITS, TEST_IMAGES, VALIDATION_IMAGES),
        "tiny ViT, pretrained on the digits 0 to 4" if facts else "tiny ViT with random weights",
        tuple(str(digit) for digit in NEW_DIGITS),
        control=control,
        weights_sha256=facts["sha256"] if facts else None,
    )


def build_model(seed: int, classes: int) -> ViTForImageClassification:
    """Return the classifier with every weight drawn from the seed; torch's global random state is left as it was."""
    config = ViTConfig(**ARCHITECTURE)
    config.num_labels = classes
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return ViTForImageClassification(config).eval()


def load_pretrained(model: ViTForImageClassification, folder: Path) -> dict[str, Any]:
    """Put the pretrained weights into all but the head; return the facts stored beside them.

    Raises:
        FlexLoRAError: the files are damaged, or this version of transformers builds another model.
    """
    facts = json.loads((folder / f"{WEIGHTS_NAME}.json").read_text(encoding="utf-8"))
    tensors = load_tensors(read_verified(folder / f"{WEIGHTS_NAME}.safetensors", facts["sha256"]))
    try:
        model.base_model.load_state_dict(tensors)
    except RuntimeError as error:
        raise FlexLoRAError(
            "The weights of task 'digits' do not fit the model that this version of transformers builds. "
            f"They were made with transformers {facts['versions']['transformers']}; install that version, or make them "
            "again with python benchmarks/pretrain_digits.py."
        ) from error
    return facts


def split_images(digits: tuple[int, ...], test: int, validation: int) -> dict[str, Split]:
    """Return train, validation and test images of some digits, labelled by their place in ``digits``.

    Pixels are scaled from 0..16 to −1..1, shape (n, 1, 8, 8).
    """
    pixels, target = _pixels_and_digits()
    rows = [str(row) for row in np.flatnonzero(np.isin(target, digits))]
    order = np.array([int(row) for row in fixed_order(rows, SPLIT_SALT)])
    parts = {"test": order[:test], "validation": order[test : test + validation], "train": order[test + validation :]}
    images = torch.from_numpy(pixels.reshape(-1, 1, 8, 8) / 8.0 - 1.0).float()
    labels = torch.from_numpy(np.searchsorted(digits, target)).long()
    return {name: Split({"pixel_values": images[part]}, labels[part]) for name, part in parts.items()}


def _pixels_and_digits() -> tuple[np.ndarray, np.ndarray]:
    """Return scikit-learn's images (1797, 64) with pixels from 0 to 16, and which digit each shows (1797,)."""
    try:
        # To import scikit-learn takes a second, more than all else that is this task's own.
        with gzip.open(package_folder("sklearn") / "datasets" / "data" / "digits.csv.gz", "rt") as file:
            table = np.loadtxt(file, delimiter=",")
    except OSError:
        # Where its files lie is no promise of the package.
        from sklearn.datasets import load_digits

        pixels, digits = load_digits(return_X_y=True)
        return np.asarray(pixels), np.asarray(digits)
    return table[:, :-1], table[:, -1].astype(int)
