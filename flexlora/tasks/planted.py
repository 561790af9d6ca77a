"""``planted``: a frozen network learns what a teacher of known ranks changed in it. docs/planted.md specifies it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flexlora.errors import FlexLoRAError
from flexlora.linear import FlexLoRALinear
from flexlora.planted import Planted, PlantedSize, distance
from flexlora.planted.info import HELD_OUT, TRAIN_ROWS, model_name, task_info
from flexlora.planted.options import PlantedOptions
from flexlora.tasks.data import Split, TaskData

BLOCK = 1024
"""Rows that are drawn at a time."""
KEPT = 8
"""Tasks, and blocks of rows, that are kept: runs that share their steps have many policies on few seeds."""


class Output(NamedTuple):
    """What the model returns.

    Attributes:
        loss: mean squared error over rows and outputs; None without labels.
        outputs: (n, d).
    """

    loss: Tensor | None
    outputs: Tensor


class Layer(nn.Module):
    """D·tanh(U·tanh(M·h)) of one layer, with the frozen M, U and D."""

    def __init__(self, mix: np.ndarray, up: np.ndarray, down: np.ndarray) -> None:
        super().__init__()
        self.mix, self.up, self.down = _linear(mix), _linear(up), _linear(down)

    def forward(self, h: Tensor) -> Tensor:
        """Map (n, d) to (n, d)."""
        return self.down(torch.tanh(self.up(torch.tanh(self.mix(h)))))


class PlantedNetwork(nn.Module):
    """The frozen network of a planted task in float64."""

    def __init__(self, weights: list[np.ndarray]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(*weights[start : start + 3]) for start in range(0, len(weights), 3))

    def forward(self, inputs: Tensor, labels: Tensor | None = None) -> Output:
        """Map inputs (n, d) to outputs (n, d), and score them."""
        h = inputs
        for layer in self.layers:
            h = h + layer(h) / math.sqrt(len(self.layers))
        return Output(None if labels is None else F.mse_loss(h, labels), h)


class DrawnRows(Split):
    """The training split: rows are drawn when they are asked for."""

    _planted: Planted

    def __init__(self, planted: Planted) -> None:
        super().__init__({}, torch.empty(0, dtype=torch.float64))
        object.__setattr__(self, "_planted", planted)

    def __len__(self) -> int:
        return TRAIN_ROWS

    def batch(self, indices: np.ndarray) -> dict[str, Tensor]:
        """Return ``inputs`` and ``labels`` (n, d) of some rows."""
        place = int(indices[0]) // BLOCK
        if indices[-1] // BLOCK != place or (np.diff(indices) != 1).any():
            return _tensors(*self._planted.rows("train", np.asarray(indices)))
        start = int(indices[0]) - place * BLOCK
        return {key: value[start : start + len(indices)] for key, value in _block(self._planted, place).items()}


@lru_cache(maxsize=KEPT)
def _block(planted: Planted, place: int) -> dict[str, Tensor]:
    return _tensors(*planted.rows("train", np.arange(place * BLOCK, (place + 1) * BLOCK)))


@lru_cache(maxsize=KEPT)
def _planted(scenario: str, seed: int, size: PlantedSize, profile: str | None) -> tuple[Planted, dict[str, Split]]:
    planted, held_out = Planted(scenario, seed, size, profile), {}
    for split, count in HELD_OUT.items():
        found = _tensors(*planted.rows(split, np.arange(count)))
        held_out[split] = Split({"inputs": found["inputs"]}, found["labels"])
    return planted, held_out


def next_rows(n: int, batch_size: int, step: int, seed: int) -> np.ndarray:
    """Return the rows of step ``step`` (from 1): the next ``batch_size`` of n, from the first again after the last."""
    return (np.arange((step - 1) * batch_size, step * batch_size)) % n


def load(seed: int, control: str, options: PlantedOptions) -> TaskData:
    """Build the task; see ``flexlora.tasks.load_task``.

    Raises:
        FlexLoRAError: a scenario that cannot be, or a control: there is neither a head nor pretraining to leave out.
    """
    if control != "none":
        raise FlexLoRAError(f"control={control}: task planted has neither a head nor pretraining. Leave it out.")
    given = {
        key: value for key in ("width", "layers", "true_rank", "noise") if (value := getattr(options, key)) is not None
    }
    planted, held_out = _planted(options.scenario or "agree", seed, PlantedSize(**given), options.profile)
    true_ranks = dict(zip(planted.size.names, planted.truth.ranks, strict=True))

    def evaluate(model: nn.Module, split: Split, *, max_samples: int | None = None) -> dict[str, float]:
        return {"loss": _loss(model, split, max_samples), "distance": distance(*_ranks(model, true_ranks))}

    return TaskData(
        model=PlantedNetwork(planted.weights).eval(),
        train=DrawnRows(planted),
        validation=held_out["validation"],
        test=held_out["test"],
        model_name=model_name(planted),
        label_names=(),
        majority=math.nan,
        info=task_info(planted, options.scenario or "agree"),
        evaluate=evaluate,
        rows=next_rows,
    )


@torch.no_grad()
def _loss(model: nn.Module, split: Split, max_samples: int | None) -> float:
    device = next(model.parameters()).device
    batch = {key: value[:max_samples].to(device) for key, value in {**split.inputs, "labels": split.labels}.items()}
    was_training = model.training
    model.eval()
    try:
        return float(model(**batch).loss)
    finally:
        model.train(was_training)


def _ranks(model: nn.Module, true_ranks: Mapping[str, int]) -> tuple[list[int], list[int]]:
    """Return the ranks of the adapted matrices and their true ones: of the directions that are not switched off."""
    found, wanted = [], []
    for name, module in model.named_modules():
        if isinstance(module, FlexLoRALinear):
            found.append(module.rank if module.gate is None else int((module.gate[module.slots] != 0).sum()))
            wanted.append(true_ranks[name])
    return found or [0] * len(true_ranks), wanted or list(true_ranks.values())


def _tensors(inputs: np.ndarray, labels: np.ndarray) -> dict[str, Tensor]:
    return {"inputs": torch.from_numpy(inputs), "labels": torch.from_numpy(labels)}


def _linear(weight: np.ndarray) -> nn.Linear:
    linear: Any = nn.Linear(weight.shape[1], weight.shape[0], bias=False, dtype=torch.float64, device="meta")
    # A copy: the drawn weights belong to every run of the seed.
    linear.weight = nn.Parameter(torch.tensor(weight))
    return linear
