"""What every format is read into: one entry for each adapted weight, and what lies beside them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn

from analysis.adapters.files import AdapterError, Tensor, TensorStore
from analysis.adapters.formats.products import Product

LINEAR, CONVOLUTION, EMBEDDING, EXPERT = "linear", "convolution", "embedding", "expert"
"""What the adapted weight is. A convolution is (out, in · kernel); an embedding maps from the vocabulary."""


class Entry(NamedTuple):
    """One adapted weight; ΔW = scale · product.

    Attributes:
        name: of the module, without what the format puts before it.
        product: ΔW / scale.
        scale: s.
        layer_kind: ``LINEAR``, ``CONVOLUTION``, ``EMBEDDING`` or ``EXPERT``.
        kernel: of a convolution.
        asked_rank: what the configuration says; None = nothing.
        magnitude: DoRA's stands beside it: without a direction it still acts.
    """

    name: str
    product: Product
    scale: float
    layer_kind: str = LINEAR
    kernel: tuple[int, ...] = ()
    asked_rank: int | None = None
    magnitude: bool = False


@dataclass
class Contents:
    """The tensors of a file, sorted.

    Attributes:
        kind: ``LORA``, ``ADALORA``, ``LOHA``, ``LOKR``, or several joined by " + ".
        label: as the first sentence says it, such as "rsLoRA".
        entries: the adapted weights.
        carried: tensors beside them: heads, biases, magnitudes, base layers.
        skipped: module or tensor → why it is not analysed.
        notices: what to know before believing the numbers, one line each.
    """

    kind: str
    label: str
    entries: list[Entry] = field(default_factory=list)
    carried: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)


class Opened(NamedTuple):
    """A file that a format looks at: its tensors, and the configuration beside it (None = there is none)."""

    file: TensorStore
    config: dict[str, Any] | None

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """Name → where it lies."""
        return self.file.tensors


def check_one_adapter(names: Collection[str]) -> None:
    """Raise ``AdapterError`` where tensors of one file are named after several adapters; "" = after none."""
    if len(names) > 1:
        told = ", ".join(sorted(name or "(unnamed)" for name in names))
        raise AdapterError(f"The file holds several adapters: {told}. Save each into a folder of its own.")


def check_product(name: str, ranks: tuple[int, int], shape: tuple[int, int], told: str) -> None:
    """Raise ``AdapterError`` where two factors have no common r, or no rows or columns; ``told`` says what they are."""
    if ranks[0] != ranks[1] or not all(shape):
        refuse_shapes(name, told)


def refuse_shapes(name: str, told: str) -> NoReturn:
    """Raise ``AdapterError`` for factors whose shapes, as ``told``, make no product."""
    raise AdapterError(f"{name}: {told}. They must be (r, in) and (out, r) with the same r, in and out above 0.")


def refuse_part(name: str, part: str) -> NoReturn:
    """Raise ``AdapterError`` for a tensor that is a part of ΔW, by its name, and is not known."""
    raise AdapterError(
        f"{name} is a {part}, which this version does not know: read without it, the numbers would be wrong."
    )
