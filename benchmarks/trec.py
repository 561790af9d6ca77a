"""TREC questions for the studies: MiniLM on a task where rank binds. Not an embedded task: its data has no licence.

    python benchmarks/trec.py FOLDER --method flexlora --out runs/trec

FOLDER holds ``train_5500.label`` and ``TREC_10.label`` (Li & Roth 2002). Everything else is as in ``flexlora.train``;
six coarse classes, the official test questions, every ninth training question for validation.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from safetensors.torch import load as load_tensors
from tokenizers import Tokenizer
from transformers import BertConfig, BertForSequenceClassification

from flexlora.tasks import TASKS
from flexlora.tasks.data import Split, TaskData, task_data
from flexlora.tasks.files import package_folder, read_verified
from flexlora.tasks.words import MODEL_PACKAGE, TOKENIZER_SHA256, WEIGHTS_SHA256

MAX_TOKENS = 24
LABELS = ("ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM")


def register(folder: Path) -> None:
    """Make the task known as ``trec`` in this process."""
    defaults = {**TASKS["words"].defaults, "eval_interval": 1000}
    TASKS["trec"] = replace(TASKS["words"], name="trec", title="TREC questions", note="", defaults=defaults)
    sys.modules["flexlora.tasks.trec"] = SimpleNamespace(load=lambda seed, control: load(folder, seed))  # type: ignore


def load(folder: Path, seed: int) -> TaskData:
    """Build the task; the head's first values depend on the seed, the splits do not."""
    train = _read(folder / "train_5500.label")
    order = np.random.default_rng(0).permutation(len(train))
    rows = [train[index] for index in order]
    validation = rows[::9]
    kept = [row for place, row in enumerate(rows) if place % 9]
    splits = {"train": kept, "validation": validation, "test": _read(folder / "TREC_10.label")}
    return task_data(
        _model(seed), {name: _tokenized(tuple(rows)) for name, rows in splits.items()}, "all-MiniLM-L6-v2", LABELS
    )


def _read(path: Path) -> list[tuple[str, str]]:
    lines = path.read_text(encoding="latin-1").splitlines()
    return [(label.split(":")[0], text) for label, _, text in (line.partition(" ") for line in lines)]


@cache
def _tokenizer() -> Tokenizer:
    content = read_verified(package_folder(MODEL_PACKAGE) / "model" / "tokenizer.json", TOKENIZER_SHA256)
    tokenizer = Tokenizer.from_str(content.decode("utf-8"))
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.enable_padding(length=MAX_TOKENS)
    return tokenizer


@cache
def _tokenized(rows: tuple[tuple[str, str], ...]) -> Split:
    encoded = _tokenizer().encode_batch([text for _, text in rows])
    inputs = {
        "input_ids": torch.tensor([row.ids for row in encoded]),
        "attention_mask": torch.tensor([row.attention_mask for row in encoded]),
    }
    return Split(inputs, torch.tensor([LABELS.index(label) for label, _ in rows]))


def _model(seed: int) -> BertForSequenceClassification:
    config = BertConfig(
        hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, num_labels=len(LABELS),
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = BertForSequenceClassification(config)
    tensors = load_tensors(read_verified(package_folder(MODEL_PACKAGE) / "model" / "model.safetensors", WEIGHTS_SHA256))
    tensors.pop("embeddings.position_ids", None)
    model.bert.load_state_dict(tensors)
    return model.eval()


if __name__ == "__main__":
    from flexlora.train import main

    register(Path(sys.argv[1]))
    sys.exit(main(["--task", "trec", *sys.argv[2:]]))
