"""Shapes: which model, which matrices, how many tokens. Everything is random; nothing is downloaded."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any


class CostError(ValueError):
    """A request that cannot be measured; the message says what would work."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One model with one kind of batch.

    Attributes:
        name: key in ``SHAPES``.
        family: ``deberta`` or ``bert`` (classifiers of two classes) or ``llama`` (next token).
        layers, hidden, heads, key_value_heads, intermediate, vocabulary: as in the model's configuration.
        batch, length: sequences and tokens of each.
        rank: directions of every matrix.
        interval: optimizer steps between events.
        targets: endings of the adapted linear layers' names.
        half_weights: the frozen weights are bf16, else fp32.
        packed: the linear layers of the body are bitsandbytes' in 4 bits (nf4), as for QLoRA.
        autocast: forward under bf16 autocast (on an accelerator only).
        checkpointing: activations of a layer are computed again in the backward pass.
        dropout: its probability wherever the family has dropout.
        attention: ``unpadded`` (SDPA without a mask: no batch is padded) or ``eager``.
        accelerator: whether the shape is meant for one.
    """

    name: str
    family: str
    layers: int
    hidden: int
    heads: int
    intermediate: int
    vocabulary: int
    batch: int
    length: int
    rank: int
    targets: tuple[str, ...]
    key_value_heads: int = 0
    interval: int = 10
    half_weights: bool = False
    packed: bool = False
    autocast: bool = False
    checkpointing: bool = False
    dropout: float = 0.1
    attention: str = "unpadded"
    accelerator: bool = False

    @property
    def matrices_per_layer(self) -> int:
        """Adapted matrices in one layer; an ending may stand for several of its matrices."""
        several = {"dense": 3, "output.dense": 2}
        return sum(several.get(target, 1) for target in self.targets)

    @property
    def matrices(self) -> int:
        """Adapted matrices of the model."""
        return self.layers * self.matrices_per_layer

    @property
    def pattern(self) -> str:
        """Regular expression that full-matches the names of the adapted layers, as PEFT takes it."""
        return rf".*\.layers?\.\d+\.(.*\.)?({'|'.join(self.targets)})"

    def record(self) -> dict[str, Any]:
        """Return every field, and the number of matrices, as plain JSON values."""
        own = {item.name: getattr(self, item.name) for item in fields(self)}
        return {**own, "targets": list(self.targets), "matrices": self.matrices}


# "dense" alone would also be BERT's pooler; "output.dense" is attention.output.dense too.
_BERT = {"family": "bert", "targets": ("query", "key", "value", "intermediate.dense", "output.dense")}
_MINILM = {**_BERT, "layers": 6, "hidden": 384, "heads": 12, "intermediate": 1536, "vocabulary": 30522, "rank": 8}
_LLAMA_8B: dict[str, Any] = {
    "family": "llama", "layers": 32, "hidden": 4096, "heads": 32, "key_value_heads": 8, "intermediate": 14336,
    "vocabulary": 128256, "batch": 4, "length": 512, "rank": 32, "half_weights": True, "autocast": True,
    "accelerator": True, "dropout": 0.0, "targets": ("q_proj", "k_proj", "v_proj", "up_proj", "down_proj"),
}  # fmt: skip
_ALL = (
    Shape(
        name="base", family="deberta", layers=12, hidden=768, heads=12, intermediate=3072, vocabulary=128100, batch=32,
        length=128, rank=8, targets=("query_proj", "key_proj", "value_proj", "dense"), autocast=True, accelerator=True,
    ),
    Shape(name="8b", checkpointing=True, **_LLAMA_8B),
    Shape(name="8b-plain", **_LLAMA_8B),
    Shape(name="8b-4bit", checkpointing=True, packed=True, **_LLAMA_8B),
    Shape(name="minilm", batch=16, length=64, **_MINILM),
    Shape(name="words", batch=16, length=8, dropout=0.0, **_MINILM),
    Shape(
        name="tiny", batch=2, length=8, layers=2, hidden=32, heads=4, intermediate=64, vocabulary=100, rank=4, **_BERT
    ),
)  # fmt: skip

SHAPES: dict[str, Shape] = {shape.name: shape for shape in _ALL}
"""Name → shape; ``tiny`` says nothing about cost and serves to try the instrument."""


def varied(name: str, *, matrices: int | None, rank: int | None, interval: int | None, length: int | None) -> Shape:
    """Return a shape with what a growth series changes.

    Raises:
        CostError: an unknown name, or a number that the shape cannot have.
    """
    if name not in SHAPES:
        raise CostError(f"there is no shape {name!r}; choose one of: {', '.join(SHAPES)}")
    shape = SHAPES[name]
    numbers = {"rank": rank, "interval": interval, "length": length}
    given = {key: value for key, value in numbers.items() if value is not None}
    if matrices is not None:
        each = shape.matrices_per_layer
        if matrices < each or matrices % each:
            nearest = max(1, round(matrices / each)) * each
            raise CostError(f"shape {name} has {each} matrices a layer: --matrices {nearest} is the nearest that fits")
        given["layers"] = matrices // each
    for key, value in given.items():
        if value < 1:
            raise CostError(f"--{key} must be at least 1, not {value}")
    longest = 512 if shape.family != "llama" else 4096
    if given.get("length", 1) > longest:
        raise CostError(f"shape {name} has {longest} positions: --length {given['length']} is too long")
    narrowest = shape.hidden * (shape.key_value_heads or shape.heads) // shape.heads
    # AdaLoRA starts with half as much again.
    if given.get("rank", 1) * 3 // 2 > narrowest:
        raise CostError(f"--rank {given['rank']} does not fit a matrix of {narrowest} rows")
    return replace(shape, **given)
