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
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from flexlora.errors import FlexLoRAError
from flexlora.tasks import MODEL_TASKS
from flexlora.tasks.data import Split, TaskData, answered, evaluate_classifier, task_data
from flexlora.tasks.models import describe_source, load_model, load_processor
from flexlora.tasks.source import SourceOptions
from flexlora.tasks.tables import read_splits

TEXT_COLUMNS = (
    ("sentence1", "sentence2"),
    ("question1", "question2"),
    ("premise", "hypothesis"),
    ("question", "sentence"),
    ("question", "passage"),
    ("sentence",),
    ("text",),
)
"""Columns that hold the text or the two texts, the first that is there wins."""
LABEL_COLUMNS = ("label", "labels", "score", "gold_label")
UNLABELLED = ("-1", "", "-", "nan", "None")


def load(seed: int, control: str, source: SourceOptions) -> TaskData:
    """Build the task; see ``flexlora.tasks.load_task``."""
    source = with_defaults(source, "text")
    tables = read_splits(source, lambda table: _labelled(table, source))
    labels = class_names(tables, source)
    settings: dict[str, Any] = {"num_labels": max(1, len(labels))}
    if not labels:
        settings["problem_type"] = "regression"
    tokenizer = load_processor(AutoTokenizer, source)
    splits = {name: _tokenized(table, labels, tokenizer, source) for name, table in tables.items()}
    model = load_model(AutoModelForSequenceClassification, source, seed, control, **settings)
    if getattr(model.config, "pad_token_id", None) is None:
        model.config.pad_token_id = tokenizer.pad_token_id
    return task_data(
        model,
        splits,
        str(source.model),
        tuple(labels),
        evaluate_classes if labels else evaluate_scores,
        control=control,
        test_is_validation=tables["test"].equals(tables["validation"]),
        source=describe_source(source),
    )


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


def _labelled(table: pd.DataFrame, source: SourceOptions) -> pd.DataFrame:
    texts = next((names for names in TEXT_COLUMNS if all(name in table.columns for name in names)), None)
    label = next((name for name in LABEL_COLUMNS if name in table.columns), None)
    if texts is None:
        allowed = "; ".join(", ".join(names) for names in TEXT_COLUMNS)
        raise FlexLoRAError(
            f"data={source.data} has columns {', '.join(map(str, table.columns))}: no text among them. Known are: "
            f"{allowed}. Without a header line, name them: columns=sentence,label."
        )
    if label is None:
        return table.iloc[:0]
    kept = pd.DataFrame({f"text{place}": table[name].astype(str) for place, name in enumerate(texts)})
    kept["label"] = table[label]
    kept = kept.loc[~kept["label"].astype(str).str.strip().isin(UNLABELLED)].copy()
    try:
        kept["label"] = pd.to_numeric(kept["label"])
    except (ValueError, TypeError):
        kept["label"] = kept["label"].astype(str)
    return kept


def class_names(tables: dict[str, pd.DataFrame], source: SourceOptions) -> list[str]:
    """Return the class names in order; none when the labels are scores."""
    train = tables["train"]["label"]
    if pd.api.types.is_float_dtype(train) and bool((train % 1 != 0).any()):
        return []
    known = sorted({_name(value) for value in train}, key=lambda name: (not name.isdigit(), len(name), name))
    if len(known) < 2:
        raise FlexLoRAError(f"data={source.data} has one label only ({known[0]}): there is nothing to learn.")
    for split, table in tables.items():
        strange = sorted({_name(value) for value in table["label"]} - set(known))
        if strange:
            raise FlexLoRAError(
                f"data={source.data}: the {split} split has labels that train does not have: {', '.join(strange[:5])}. "
                f"Train has: {', '.join(known[:10])}."
            )
    if len(known) > 1000:
        raise FlexLoRAError(f"data={source.data} has {len(known)} labels in column label; at most 1000 are classes.")
    return known


def _name(value: Any) -> str:
    # An integer column with a gap is read as floats.
    return str(int(value)) if isinstance(value, float) and value == round(value) else str(value)


def _tokenized(table: pd.DataFrame, labels: list[str], tokenizer: Any, source: SourceOptions) -> Split:
    texts = [table[name].tolist() for name in table.columns if name.startswith("text")]
    encode = partial(tokenizer, truncation=True, max_length=source.max_tokens, padding=True, padding_side="right")
    encoded = encode(*texts, return_tensors="pt")
    if labels:
        places = {name: place for place, name in enumerate(labels)}
        target = torch.tensor([places[_name(value)] for value in table["label"]])
    else:
        target = torch.tensor(table["label"].to_numpy(), dtype=torch.float32)
    return Split(dict(encoded), target)
