"""GGUF files of llama.cpp, read without the gguf package: the head, and tensors in F32, F16, BF16 or Q8_0."""

from __future__ import annotations

import math
import struct
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from analysis.adapters.damage import what_it_is
from analysis.adapters.files import AdapterError, Tensor, floats, number, stored_bytes, version_of
from analysis.adapters.formats.format import Format
from analysis.adapters.formats.gguf_plan import GGUF_WRITER
from analysis.adapters.formats.products import low_rank
from analysis.adapters.formats.record import (
    EMBEDDING,
    EXPERT,
    LINEAR,
    Contents,
    Entry,
    Opened,
    check_product,
    refuse_part,
    refuse_shapes,
)
from analysis.adapters.layout import MAX_HEADER_BYTES
from analysis.outside import shown

MAGIC = b"GGUF"
_VALUES = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_TEXT, _ARRAY = 8, 9
_TYPES = {0: ("F32", 1, 4), 1: ("F16", 1, 2), 8: ("Q8_0", 32, 34), 28: ("F64", 1, 8), 30: ("BF16", 1, 2)}
"""Number of a type → its name, how many numbers a block of it holds, and its bytes."""
_MOST = 1 << 20
"""More entries than this no head of an adapter has."""


class GgufFile:
    """A GGUF file whose head is checked, read a tensor at a time: a ``TensorStore``.

    Attributes:
        values: the file's own settings: numbers and texts as they are, arrays as tuples.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.metadata: dict[str, str] = {}
        self.tensors: dict[str, Tensor] = {}
        self.values: dict[str, Any] = {}
        try:
            self._version = version_of(path)
            with path.open("rb") as file:
                self._read_head(file)
        except (struct.error, UnicodeDecodeError, OverflowError, MemoryError, OSError) as error:
            raise AdapterError(
                f"{path.name} is no complete GGUF file: its head ends early or makes no sense."
            ) from error
        self.size = size = self._version.size
        last = max((tensor.start + tensor.nbytes for tensor in self.tensors.values()), default=0)
        if size < last:
            raise AdapterError(f"{path.name} is cut short: {size:,} of {last:,} bytes. Download or copy it again.")

    def _read_head(self, file: BinaryIO) -> None:
        if file.read(4) != MAGIC:
            raise AdapterError(what_it_is(self.path) or f"{self.path.name} is no GGUF file: its first bytes differ.")
        version, count, pairs = struct.unpack("<IQQ", file.read(20))
        if version not in (2, 3) or max(count, pairs) > _MOST:
            raise AdapterError(f"{self.path.name} is GGUF version {version}, little-endian 2 and 3 can be read.")
        for _ in range(pairs):
            key = _text(file)
            if key in self.values:
                raise AdapterError(f"{self.path.name} says {shown(key)} twice: which of them counts is not known.")
            self.values[key] = _value(file, *struct.unpack("<I", file.read(4)))
        self.metadata = {key: value for key, value in self.values.items() if isinstance(value, str)}
        entries = []
        for _ in range(count):
            name, (dimensions,) = _text(file), struct.unpack("<I", file.read(4))
            if dimensions > 8:
                raise AdapterError(f"{self.path.name} is no complete GGUF file: a tensor of {dimensions} dimensions.")
            # The fastest dimension comes first.
            shape = struct.unpack(f"<{dimensions}Q", file.read(8 * dimensions))[::-1]
            entries.append((name, shape, *struct.unpack("<IQ", file.read(12))))
        alignment = self.values.get("general.alignment", 32)
        # Written by the gguf package: a power of 2; llama.cpp refuses any other.
        if not isinstance(alignment, int) or not 0 < alignment <= _MOST or alignment & (alignment - 1):
            raise AdapterError(f"{self.path.name} has an alignment of {shown(alignment)}; a power of 2 is needed.")
        begin = -(-file.tell() // alignment) * alignment
        for name, shape, kind, offset in entries:
            dtype, numbers, nbytes = _TYPES.get(kind, (f"type {kind}", 1, 0))
            if name in self.tensors:
                raise AdapterError(f"{self.path.name} has {shown(name)} twice: which of them counts is not known.")
            if shape and shape[-1] % numbers:
                raise AdapterError(
                    f"{name} is in {dtype} with rows of {shape[-1]} numbers; {dtype} holds blocks of {numbers}, so the "
                    "file is damaged. Convert the adapter again, with --outtype f16."
                )
            if offset % alignment:
                raise AdapterError(
                    f"{name} begins at byte {offset}, which is no multiple of the alignment {alignment}: the file is "
                    "damaged. Convert the adapter again."
                )
            total = math.prod(shape) // numbers * nbytes
            self.tensors[name] = Tensor(name, dtype, tuple(shape), begin + offset, total)

    def raw(self, name: str) -> bytes:
        """Return a tensor's bytes as stored."""
        return stored_bytes(self.path, self.tensors[name], self._version)

    def read(self, name: str) -> np.ndarray:
        """Return a tensor as float64; ``AdapterError`` where its type cannot be read."""
        tensor = self.tensors[name]
        if tensor.dtype == "Q8_0":
            blocks = np.frombuffer(self.raw(name), np.dtype([("scale", "<f2"), ("numbers", "i1", (32,))]))
            found = blocks["numbers"].astype(np.float64) * blocks["scale"].astype(np.float64)[:, None]
            return found.reshape(tensor.shape)
        if tensor.dtype.startswith("type "):
            raise AdapterError(
                f"{name} is quantised ({tensor.dtype}). F32, F16, BF16 and Q8_0 can be read: ask for --outtype f16."
            )
        return floats(self.raw(name), tensor.dtype).reshape(tensor.shape)


def _text(file: BinaryIO) -> str:
    (length,) = struct.unpack("<Q", file.read(8))
    if length > MAX_HEADER_BYTES:
        raise OverflowError
    data = file.read(length)
    if len(data) < length:
        raise OverflowError
    return data.decode()


def _value(file: BinaryIO, kind: int) -> Any:
    if kind == _TEXT:
        return _text(file)
    if kind == _ARRAY:
        inner, count = struct.unpack("<IQ", file.read(12))
        if count > _MOST * 16 or inner == _ARRAY:
            raise OverflowError
        return tuple(_value(file, inner) for _ in range(count))
    if kind not in _VALUES:
        raise OverflowError
    form = f"<{_VALUES[kind]}"
    return struct.unpack(form, file.read(struct.calcsize(form)))[0]


def _read(opened: Opened) -> Contents:
    values: dict[str, Any] = opened.file.values  # type: ignore[attr-defined]
    own = str(values.get("general.type", "adapter")), str(values.get("adapter.type", "lora"))
    if own != ("adapter", "lora"):
        raise AdapterError(
            f"This GGUF file is of type {own[0]!r}: it is no LoRA adapter but a model, or another adapter."
        )
    alpha = number(values, "adapter.lora.alpha", 0.0)
    contents = Contents("LORA", "LoRA")
    modules: dict[str, dict[str, Tensor]] = {}
    for name, tensor in opened.tensors.items():
        module, _, part = name.rpartition(".")
        if part in ("lora_a", "lora_b"):
            modules.setdefault(module.removesuffix(".weight"), {})[part] = tensor
        elif part.startswith("lora_"):
            refuse_part(name, part)
        else:
            contents.carried.append(name)
    if not modules:
        raise AdapterError("This GGUF file holds no lora_a and lora_b: it is no LoRA adapter.")
    for module, parts in modules.items():
        contents.entries += _entries(module, parts, alpha)
    if not alpha:
        contents.notices.append("adapter.lora.alpha is 0 or missing: s = 1, as llama.cpp takes it.")
    if "adapter.alora.invocation_tokens" in values:
        contents.notices.append("Activated LoRA: ΔW acts only on tokens from the invocation sequence on.")
    return contents


def _entries(module: str, parts: dict[str, Tensor], alpha: float) -> list[Entry]:
    missing = [part for part in ("lora_a", "lora_b") if part not in parts]
    if missing:
        raise AdapterError(f"{module} has no {missing[0]} in this file: a factor without its partner says nothing.")
    A, B = parts["lora_a"], parts["lora_b"]
    told = f"lora_a has shape {list(A.shape)} and lora_b {list(B.shape)}"
    if len(A.shape) == len(B.shape) == 3:
        experts, out, rank = B.shape
        check_product(module, (A.shape[1] * A.shape[0], rank * experts), (out, A.shape[2]), told)
        of = [partial(_of, number=number) for number in range(experts)]
        owner, _, last = module.rpartition(".")
        return [
            Entry(
                f"{owner}.{last}.{n}" if owner else f"{last}.{n}",
                low_rank(B, A, (out, A.shape[2]), rank, share=experts, change_A=one, change_B=one),
                alpha / rank if alpha and rank else 1.0,
                EXPERT,
            )
            for n, one in enumerate(of)
        ]
    if not len(A.shape) == len(B.shape) == 2:
        refuse_shapes(module, told)
    # llama.cpp keeps the A of an embedding transposed.
    turned = A.shape[0] != B.shape[1] and A.shape[1] == B.shape[1]
    rank, columns = A.shape[::-1] if turned else A.shape
    check_product(module, (rank, B.shape[1]), (B.shape[0], columns), told)
    product = low_rank(B, A, (B.shape[0], columns), rank, change_A=np.transpose if turned else None)
    return [Entry(module, product, alpha / rank if alpha and rank else 1.0, EMBEDDING if turned else LINEAR)]


def _of(array: np.ndarray, number: int) -> np.ndarray:
    return array[number]


GGUF = Format(
    "gguf",
    "llama.cpp",
    "one `.gguf` file",
    "`lora_a` and `lora_b` in F32, F16, BF16 or Q8_0 with `adapter.lora.alpha`, also of experts",
    "other quantised types, by name",
    lambda opened: isinstance(opened.file, GgufFile),
    _read,
    GGUF_WRITER,
)
