"""Adapter files: check them, read one tensor at a time, write them. Nothing is unpickled and nothing is read whole."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from safetensors import SafetensorError, safe_open

from analysis.adapters.damage import what_it_is
from analysis.adapters.layout import ITEM_BYTES
from analysis.outside import OutsideError, first_line, shown

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
OWN_WEIGHTS = "adapter.safetensors"
"""What ``adapter.save`` of this project writes: exact state, not PEFT's layout."""
MAX_NUMBER = 1e30
"""Beyond it a scale is a slip of the pen, and squares of σ would leave float64."""
MAX_CONFIG_BYTES = 16 << 20
"""A rank pattern of a large AdaLoRA adapter takes a few hundred kilobytes."""
_WHOLE = {f"{sign}{bits}": f"<{kind}{bits // 8}" for sign, kind in (("I", "i"), ("U", "u")) for bits in (8, 16, 32, 64)}
_FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "F8_E4M3": "u1", "F8_E5M2": "u1"}


class AdapterError(OutsideError):
    """An adapter that cannot be opened, analysed or written."""


@dataclass(frozen=True)
class Tensor:
    """Where one tensor lies in its file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    nbytes: int


class TensorStore(Protocol):
    """Tensors that are read one at a time, wherever they lie.

    Attributes:
        path: of the file, or of the folder that holds several.
        tensors: name → where it lies, in the file's order.
        metadata: what the file says beside them, as text.
        size: bytes of it all.
    """

    path: Path
    tensors: dict[str, Tensor]
    metadata: dict[str, str]
    size: int

    def raw(self, name: str) -> bytes:
        """Return a tensor's bytes as stored."""
        ...

    def read(self, name: str) -> np.ndarray:
        """Return a tensor as float64; ``AdapterError`` where it holds no plain floating-point numbers."""
        ...


class TensorFile:
    """A checked safetensors file, read a tensor at a time: a ``TensorStore``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._version = version_of(path)
            # The library checks the header's length, syntax, types and offsets against the file before it is parsed.
            with safe_open(str(path), framework="np"):
                pass
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                header = json.loads(file.read(length))
        except (SafetensorError, OSError, ValueError) as error:
            reason = first_line(error).removeprefix("Error while deserializing header: ")
            told = what_it_is(path) or (
                f"{path.name} is no complete safetensors file: {reason}. Download or copy it again, or save it anew."
            )
            raise AdapterError(told) from error
        self.size = self._version.size
        found = header.pop("__metadata__", None) or {}
        self.metadata = {str(key): str(value) for key, value in found.items()}
        strange = next((name for name in header if not name.isprintable()), None)
        if strange is not None:
            raise AdapterError(
                f"{path.name} names a tensor {shown(strange)}: a name of printable characters is needed."
            )
        self.tensors = {
            name: Tensor(
                name,
                entry["dtype"],
                tuple(entry["shape"]),
                8 + length + entry["data_offsets"][0],
                entry["data_offsets"][1] - entry["data_offsets"][0],
            )
            for name, entry in header.items()
        }

    def raw(self, name: str) -> bytes:
        """Return a tensor's bytes as stored."""
        return stored_bytes(self.path, self.tensors[name], self._version)

    def read(self, name: str) -> np.ndarray:
        """Return a tensor as float64.

        Raises:
            AdapterError: it does not hold plain floating-point numbers.
        """
        tensor = self.tensors[name]
        if tensor.dtype not in _FLOATS:
            raise AdapterError(
                f"{name} holds {tensor.dtype} numbers. Adapters in {', '.join(_FLOATS)} can be opened; save it as one."
            )
        return floats(self.raw(name), tensor.dtype).reshape(tensor.shape)


class Version(NamedTuple):
    """What changes when a file is written anew."""

    modified: int
    size: int
    inode: int


def version_of(path: Path) -> Version:
    """Return the version of a file; ``OSError`` where there is none."""
    status = path.stat()
    return Version(status.st_mtime_ns, status.st_size, status.st_ino)


def stored_bytes(path: Path, tensor: Tensor, version: Version) -> bytes:
    """Return the bytes of a tensor in its file, of the version in which its place was read.

    Raises:
        AdapterError: the file is gone, or another one by now.
    """
    try:
        with path.open("rb") as file:
            file.seek(tensor.start)
            found = file.read(tensor.nbytes)
        now = version_of(path)
    except OSError as error:
        raise AdapterError(
            f"{path.name} can no longer be read: {error.strerror or error}. Put it back, or open the adapter anew."
        ) from error
    if now != version or len(found) != tensor.nbytes:
        raise AdapterError(f"{path.name} has changed since it was opened. Open the adapter anew.")
    return found


def floats(data: bytes, dtype: str) -> np.ndarray:
    """Return stored numbers of a floating-point type, as safetensors names it, as float64 (n,)."""
    array = np.frombuffer(data, _FLOATS[dtype])
    if dtype == "BF16":
        # bfloat16 is the upper half of float32; numpy has no such type.
        wide = np.zeros((array.size, 2), "<u2")
        wide[:, 1] = array
        array = wide.view("<f4")[:, 0]
    elif dtype == "F8_E5M2":
        # The upper half of float16.
        array = (array.astype("<u2") << 8).view("<f2")
    elif dtype == "F8_E4M3":
        array = _e4m3()[array]
    return array.astype(np.float64)


@lru_cache(maxsize=1)
def _e4m3() -> np.ndarray:
    """Return what each byte of F8_E4M3 means (256,): bias 7, no infinity, NaN where all bits but the sign are 1.

    Micikevicius et al. (2022), "FP8 formats for deep learning".
    """
    byte = np.arange(256)
    exponent, fraction = byte >> 3 & 15, byte & 7
    value = np.where(exponent, (8 + fraction) * 2.0 ** (exponent - 10.0), fraction * 2.0**-9)
    value[byte & 127 == 127] = np.nan
    return np.where(byte > 127, -value, value)


def numbers(store: TensorStore, tensor: Tensor) -> np.ndarray:
    """Return a tensor that may hold whole numbers, as an alpha does, as float64; errors are those of ``read``."""
    if tensor.dtype in _WHOLE:
        return np.frombuffer(store.raw(tensor.name), _WHOLE[tensor.dtype]).astype(np.float64).reshape(tensor.shape)
    return store.read(tensor.name)


class NewTensor(NamedTuple):
    """A tensor to write: its type as safetensors names it, its shape, and what returns its bytes when they are due."""

    dtype: str
    shape: tuple[int, ...]
    data: Callable[[], bytes]


def write_tensors(path: Path, tensors: Mapping[str, NewTensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file, holding one tensor in memory at a time; ``metadata`` stands in its header.

    Not by the library: its numpy door has no bfloat16, and the one below takes memory addresses.

    Raises:
        AdapterError: a tensor's bytes do not fit its shape.
        OSError: the file cannot be written.
    """
    text, sizes = _header(tensors, metadata)
    with path.open("wb") as file:
        file.write(text)
        for (name, tensor), size in zip(tensors.items(), sizes, strict=True):
            data = tensor.data()
            if len(data) != size:
                raise AdapterError(f"{name} takes {len(data)} bytes, not the {size} of its shape.")
            file.write(data)


def written_bytes(tensors: Mapping[str, NewTensor], metadata: Mapping[str, str] | None = None) -> int:
    """Return the size of the file that ``write_tensors`` would write."""
    text, sizes = _header(tensors, metadata)
    return len(text) + sum(sizes)


def _header(tensors: Mapping[str, NewTensor], metadata: Mapping[str, str] | None) -> tuple[bytes, list[int]]:
    """Return what stands before the numbers, and the bytes of each tensor."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"} if metadata is None else dict(metadata)}
    end, sizes = 0, []
    for name, tensor in tensors.items():
        sizes.append(math.prod(tensor.shape) * ITEM_BYTES[tensor.dtype])
        header[name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [end, end + sizes[-1]]}
        end += sizes[-1]
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text, sizes


def number(config: dict[str, Any], key: str, default: float | None = None) -> float:
    """Return a number of a configuration, at most ``MAX_NUMBER`` in magnitude.

    Raises:
        AdapterError: it is missing, no number or too large.
    """
    value = config.get(key, default)
    # Compared before it is converted: a whole number in JSON may be too large for a float.
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= MAX_NUMBER:
        raise AdapterError(
            f"The configuration has {key}={shown(value)}; a number within ±{MAX_NUMBER:g} is needed for the scale."
        )
    return float(value)
