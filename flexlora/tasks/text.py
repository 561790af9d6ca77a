"""``text``: classify texts or pairs of texts, or predict a score, with any encoder (the layout of GLUE)."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from scipy import stats
from torch import nn
from transformers import AutoModelForSequenceClassification

from flexlora.errors import FlexLoRAError
from flexlora.tasks import MODEL_TASKS
from flexlora.tasks.columns import text_roles
from flexlora.tasks.data import Split, TaskData, answered, evaluate_classifier, task_data
from flexlora.tasks.labelled import labelled_tables
from flexlora.tasks.labels import class_names, label_name, told_balance
from flexlora.tasks.models import describe_source, load_model
from flexlora.tasks.rows import PLACE
from flexlora.tasks.source import SourceOptions
from flexlora.tasks.tables import read_rows, split_rows
from flexlora.tasks.token_ids import check_fit, ensure_padding, load_tokenizer


def load(seed: int, control: str, source: SourceOptions) -> TaskData:
    """Build the task; see ``flexlora.tasks.load_task``."""
    source = with_defaults(source, "text")
    tables, labels, told = read_examples(source)
    settings: dict[str, Any] = {"num_labels": max(1, len(labels))}
    if not labels:
        settings["problem_type"] = "regression"
    tokenizer = load_tokenizer(source, tables["train"]["text0"].tolist())
    padding = ensure_padding(tokenizer, source)
    model = load_model(AutoModelForSequenceClassification, source, seed, control, **settings)
    splits = {}
    for name, table in tables.items():
        splits[name], without = _tokenized(table, labels, tokenizer, source)
        told += [f"{name}: {without} of {len(table)} rows left out: their text gives no token."] if without else []
    check_fit(model, splits, source)
    if padding or getattr(model.config, "pad_token_id", None) is None:
        model.config.pad_token_id = tokenizer.pad_token_id
    return task_data(
        model,
        splits,
        str(source.model),
        tuple(labels),
        evaluate_classes if labels else evaluate_scores,
        notices=[*told, *padding],
        control=control,
        test_is_validation=tables["test"].drop(columns=PLACE).equals(tables["validation"].drop(columns=PLACE)),
        source=describe_source(source),
    )


def read_examples(source: SourceOptions) -> tuple[dict[str, pd.DataFrame], list[str], list[str]]:
    """Return split → texts, label and place of its examples; the class names (none = scores); what to tell about them.

    Raises:
        FlexLoRAError: what is there cannot be read or learned from; see docs/data.md.
    """
    found, told = labelled_tables(read_rows(source), source, text_roles, ("text0", "text1"))
    tables = split_rows(found, source)
    labels = class_names(tables, source, told)
    return tables, labels, told + (told_balance(tables["train"]["label"].tolist()) if labels else [])


def with_defaults(source: SourceOptions, task: str) -> SourceOptions:
    """Return the options with what is left out filled in from the task's defaults."""
    known = MODEL_TASKS[task].defaults
    own = {key: known[key] for key in ("model", "data", "max_tokens") if getattr(source, key) is None}
    return replace(source, **own)


def evaluate_classes(model: nn.Module, split: Split, **more: Any) -> dict[str, float]:
    """Return accuracy, loss and Matthews' correlation (0 where it is undefined), the metric of CoLA."""
    found: list[tuple[torch.Tensor, torch.Tensor]] = []
    metrics = evaluate_classifier(model, split, seen=found, **more)
    predicted = torch.cat([logits.argmax(dim=-1) for logits, _ in found]).numpy()
    labels = torch.cat([own for _, own in found]).numpy()
    return {**metrics, "matthews": matthews(labels, predicted)}


def matthews(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Return Matthews' correlation of two class vectors (n,), for any number of classes; 0 where it is undefined."""
    from sklearn.metrics import matthews_corrcoef

    return float(matthews_corrcoef(labels, predicted))


@torch.no_grad()
def evaluate_scores(
    model: nn.Module, split: Split, *, batch_size: int = 64, max_samples: int | None = None
) -> dict[str, float]:
    """Return mean squared error as loss, and Pearson's and Spearman's correlation, the metrics of STS-B."""
    batches = answered(model, split, batch_size, max_samples, by_length=False)
    scores = torch.cat([logits.float().reshape(-1).cpu() for _, _, logits in batches])
    truth = split.labels[: len(scores)]
    constant = bool((scores == scores[0]).all() or (truth == truth[0]).all())
    # A constant has no correlation; 0 says that it explains nothing.
    pearson = 0.0 if constant else float(np.corrcoef(scores, truth)[0, 1])
    spearman = 0.0 if constant else float(np.corrcoef(stats.rankdata(scores), stats.rankdata(truth))[0, 1])
    return {"pearson": pearson, "spearman": spearman, "loss": float(F.mse_loss(scores, truth))}


def _tokenized(table: pd.DataFrame, labels: list[str], tokenizer: Any, source: SourceOptions) -> tuple[Split, int]:
    """Return the split, and how many of its rows were left out because their text gives no token."""
    texts = [table[name].tolist() for name in table.columns if name.startswith("text")]
    encode = partial(tokenizer, truncation=True, max_length=source.max_tokens, padding=True, padding_side="right")
    encoded = dict(encode(*texts, return_tensors="pt"))
    if labels:
        places = {name: place for place, name in enumerate(labels)}
        target = torch.tensor([places[label_name(value)] for value in table["label"]])
    else:
        target = torch.tensor(table["label"].to_numpy(), dtype=torch.float32)
    some = encoded["attention_mask"].any(dim=1)
    if some.all():
        return Split(encoded, target), 0
    if not some.any():
        raise FlexLoRAError(f"data={source.data}: no text gives a token ({table[PLACE].iloc[0]} and all others).")
    return Split({name: values[some] for name, values in encoded.items()}, target[some]), int((~some).sum())
