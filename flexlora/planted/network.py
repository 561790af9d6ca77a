"""The frozen network, the teacher and the data, all drawn from one seed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from flexlora.counter import key_of, normal_rows
from flexlora.errors import FlexLoRAError
from flexlora.planted.scenario import Truth, truth_of

Array = NDArray[np.float64]

TYPES = ("mix", "up", "down")
"""Module types of a layer, in the order in which data flows through it."""
SPLITS = ("train", "validation", "test")
"""Number of a split in the keys of its inputs and noise."""


@dataclass(frozen=True)
class PlantedSize:
    """How large a planted task is.

    Attributes:
        width: d, inputs and outputs of the network.
        layers: L, residual layers of three matrices each.
        true_rank: r* of a matrix on average.
        noise: standard deviation of what is added to the teacher's output in the training split.
    """

    width: int = 24
    layers: int = 6
    true_rank: int = 4
    noise: float = 0.05

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """(out, in) of every matrix, in module order."""
        d = self.width
        return [(d, d), (2 * d, d), (d, 2 * d)] * self.layers

    @property
    def names(self) -> list[str]:
        """Names of the matrices, in module order: ``layers.0.mix``, ``layers.0.up``, ``layers.0.down``, ..."""
        return [f"layers.{layer}.{kind}" for layer in range(self.layers) for kind in TYPES]


class Planted:
    """One planted task: h ← h + D·tanh(U·tanh(M·h)) / √L over L layers, from h = x; everything in float64.

    Attributes:
        size: its size.
        seed: draws weights, truth and data.
        truth: ranks and energies of ΔW*.
    """

    def __init__(self, scenario: str, seed: int, size: PlantedSize | None = None, profile: str | None = None) -> None:
        self.size = size or PlantedSize()
        if self.size.width < 2 or self.size.layers < 1:
            raise FlexLoRAError("A planted network needs width at least 2 and at least 1 layer.")
        self.seed = seed
        matrices = len(self.size.shapes)
        self.truth: Truth = truth_of(scenario, matrices, self.size.true_rank, self.size.width, seed, profile)

    @cached_property
    def weights(self) -> list[Array]:
        """Frozen W0 of each matrix, (out, in): Gaussian with std 1/√in."""
        return [
            normal_rows(key_of(self.seed, "weights", place), np.arange(out), inside) / math.sqrt(inside)
            for place, (out, inside) in enumerate(self.size.shapes)
        ]

    @cached_property
    def updates(self) -> list[Array]:
        """ΔW* of each matrix, (out, in): Σ size_i · a_i b_iᵀ with orthonormal a and b."""
        found = []
        for place, (out, inside) in enumerate(self.size.shapes):
            rank = self.truth.ranks[place]
            left = orthonormal(normal_rows(key_of(self.seed, "left", place), np.arange(rank), out))
            right = orthonormal(normal_rows(key_of(self.seed, "right", place), np.arange(rank), inside))
            found.append((left.T * self.truth.sizes(place)) @ right)
        return found

    @cached_property
    def taught(self) -> list[Array]:
        """W0 + ΔW* of each matrix."""
        return [weight + update for weight, update in zip(self.weights, self.updates, strict=True)]

    def rows(self, split: str, rows: NDArray[np.int64]) -> tuple[Array, Array]:
        """Return inputs and targets (n, d) of some rows of a split; only the training split's targets have noise."""
        number, d = SPLITS.index(split), self.size.width
        inputs = normal_rows(key_of(self.seed, "inputs", number), rows, d)
        targets = forward(self.taught, inputs)
        if split == "train" and self.size.noise:
            targets = targets + self.size.noise * normal_rows(key_of(self.seed, "noise", number), rows, d)
        return inputs, targets


def forward(weights: list[Array], inputs: Array) -> Array:
    """Return the network's output (n, d) for inputs (n, d); ``weights`` are (out, in), in module order."""
    layers = len(weights) // len(TYPES)
    h = inputs
    for layer in range(layers):
        mix, up, down = weights[len(TYPES) * layer : len(TYPES) * (layer + 1)]
        h = h + np.tanh(np.tanh(h @ mix.T) @ up.T) @ down.T / math.sqrt(layers)
    return h


def orthonormal(rows: Array) -> Array:
    """Return the rows (r, dim) made orthonormal by Gram and Schmidt, one after another, each projected twice."""
    found = np.zeros_like(rows)
    for place, row in enumerate(rows):
        done = found[:place]
        for _ in range(2):
            row = row - (done @ row) @ done
        found[place] = row / math.sqrt(float(row @ row))
    return found
