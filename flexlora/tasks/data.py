"""What a task hands to the training loop: splits, batches, evaluation and the order of the data."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Split:
    """Examples in a fixed shuffled order, so that any prefix is a fair subset.

    Attributes:
        inputs: argument name of the model → tensor (n, ...); text has an ``attention_mask`` (n, tokens).
        labels: class numbers (n,), int64; scores (n,), float32; or tokens to learn (n, tokens), −100 = not this one.
        answers: what only an evaluation needs, by name → (n, ...); empty for plain classification.
    """

    inputs: Mapping[str, Tensor]
    labels: Tensor
    answers: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, indices: np.ndarray) -> dict[str, Tensor]:
        """Return the keyword arguments of ``model(**batch)`` for the rows ``indices`` (batch,), labels included.

        Text is cut to the longest row of the batch: padding that no row needs costs time and changes nothing.
        """
        rows = torch.as_tensor(indices)
        batch = {name: tensor[rows] for name, tensor in self.inputs.items()}
        if "attention_mask" in batch:
            longest = int(batch["attention_mask"].sum(dim=1).max())
            batch = {name: tensor[:, :longest] for name, tensor in batch.items()}
            if self.labels.dim() == 2:
                return {**batch, "labels": self.labels[rows, :longest]}
        return {**batch, "labels": self.labels[rows]}


def batch_indices(n: int, batch_size: int, step: int, seed: int) -> np.ndarray:
    """Return the rows of step ``step`` (from 1), int64 (batch_size,).

    Epochs are permutations laid end to end and cut into batches of equal size, so each epoch has every row exactly
    once. A function of its arguments alone: a resumed run needs no iterator state.

    Args:
        n: number of rows.
        batch_size: rows in a step.
        step: number of the optimizer step, from 1.
        seed: draws the permutations.
    """
    if n < 1 or batch_size < 1 or step < 1:
        raise ValueError(f"n, batch_size and step must be at least 1, got {n}, {batch_size}, {step}.")
    start = (step - 1) * batch_size
    end = start + batch_size
    first, last = start // n, (end - 1) // n
    rows = np.concatenate([np.random.default_rng([seed, epoch]).permutation(n) for epoch in range(first, last + 1)])
    return rows[start - first * n : end - first * n]


@dataclass(frozen=True)
class TaskData:
    """A model and the data to adapt it to.

    Attributes:
        model: without dropout; in fp32 and with a new head, unless the task says otherwise.
        train: examples to learn from.
        validation: examples for curves and choices.
        test: examples for the last number of a run.
        model_name: what the model is, for people.
        label_names: class number → name.
        majority: share of the most frequent class in ``test``: what a constant answer scores.
        info: plain values for the header of a run log.
        evaluate: f(model, split, max_samples=) → metric → value, the loss among them.
        rows: f(n, batch_size, step, seed) → the rows of the training split that a step takes, as ``batch_indices``.
    """

    model: nn.Module
    train: Split
    validation: Split
    test: Split
    model_name: str
    label_names: tuple[str, ...]
    majority: float
    info: dict[str, Any]
    evaluate: Callable[..., dict[str, float]]
    rows: Callable[[int, int, int, int], np.ndarray] = batch_indices


def task_data(
    model: PreTrainedModel,
    splits: Mapping[str, Split],
    model_name: str,
    label_names: tuple[str, ...],
    evaluate: Callable[..., dict[str, float]] | None = None,
    notices: Sequence[str] = (),
    **info: Any,
) -> TaskData:
    """Assemble ``TaskData`` from splits named train, validation and test; sizes and majority go into ``info``.

    So do ``notices``, one line each for what people should know about the data, where there are any. ``majority`` is of
    ``answers["label"]`` where a split has it, else of the labels; NaN for scores.
    """
    answers = splits["test"].answers.get("label", splits["test"].labels)
    majority = math.nan if answers.is_floating_point() else float(torch.bincount(answers).max()) / len(answers)
    sizes = {name: len(split) for name, split in splits.items()}
    return TaskData(
        model=model,
        train=splits["train"],
        validation=splits["validation"],
        test=splits["test"],
        model_name=model_name,
        label_names=label_names,
        majority=majority,
        info={
            "label_names": list(label_names),
            "majority": None if math.isnan(majority) else majority,
            "sizes": sizes,
            **({"notices": list(notices)} if notices else {}),
            **info,
        },
        evaluate=evaluate or evaluate_classifier,
    )


@torch.no_grad()
def answered(
    model: nn.Module, split: Split, batch_size: int, max_samples: int | None = None, *, by_length: bool = True
) -> Iterator[tuple[np.ndarray, Tensor, Tensor]]:
    """Yield rows (batch,), labels and logits of the model, on its device; its training flag is left as it was.

    Only the first ``max_samples`` count, None = all. ``by_length``: texts of one length together, which is less padding
    for the same sums; False = in the split's order.
    """
    order = np.arange(len(split))[:max_samples]
    if by_length and "attention_mask" in split.inputs:
        order = np.argsort(split.inputs["attention_mask"][: len(order)].sum(dim=1).numpy(), kind="stable")
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    try:
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            batch = {key: value.to(device) for key, value in split.batch(rows).items()}
            labels = batch.pop("labels")
            yield rows, labels, model(**batch).logits
    finally:
        model.train(was_training)


@torch.no_grad()
def evaluate_classifier(
    model: nn.Module,
    split: Split,
    *,
    batch_size: int = 64,
    max_samples: int | None = None,
    seen: list[tuple[Tensor, Tensor]] | None = None,
) -> dict[str, float]:
    """Return accuracy and mean cross-entropy loss; the model's training flag is left as it was.

    Args:
        model: a classifier whose output has ``logits`` (batch, classes).
        split: labelled examples.
        batch_size: examples in a forward pass; small, so that rows of one length share one and caches hold it.
        max_samples: only the first so many; None means all.
        seen: logits (batch, classes) and labels (batch,) of every batch are added to it, on the CPU.
    """
    correct, loss, count = 0, 0.0, 0
    for rows, labels, raw in answered(model, split, batch_size, max_samples):
        logits = raw.float()
        count += len(rows)
        correct += int((logits.argmax(dim=-1) == labels).sum())
        loss += float(F.cross_entropy(logits, labels, reduction="sum"))
        if seen is not None:
            seen.append((logits.cpu(), labels.cpu()))
    return {"accuracy": correct / count, "loss": loss / count}
