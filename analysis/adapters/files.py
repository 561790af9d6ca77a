"""Adapter files: find them, check them, read one tensor at a time. Nothing is unpickled and nothing is read whole."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open

from analysis.outside import OutsideError, existing, read_json, shown

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
OWN_WEIGHTS = "adapter.safetensors"
"""What ``adapter.save`` of this project writes: exact state, not PEFT's layout."""
MAX_NUMBER = 1e30
"""Beyond it a scale is a slip of the pen, and squares of σ would leave float64."""
MAX_CONFIG_BYTES = 16 << 20
"""A rank pattern of a large AdaLoRA adapter takes a few hundred kilobytes."""

_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_CONVERT = (
    "It holds pickled objects, which can run code when they are opened. In an environment that trusts the file: "
    "safetensors.torch.save_file(torch.load({name!r}, weights_only=True), 'adapter_model.safetensors')"
)
ITEM_BYTES = {
    **dict.fromkeys(("F64", "I64", "U64"), 8),
    **dict.fromkeys(("F32", "I32", "U32"), 4),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 2),
    **dict.fromkeys(("I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2"), 1),
}
"""Type as safetensors names it → bytes of one number."""
_FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


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


class TensorFile:
    """A checked safetensors file, read a tensor at a time.

    Attributes:
        path: of the file.
        tensors: name → where it lies, in the file's order.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            # The library checks the header's length, syntax, types and offsets against the file before it is parsed.
            with safe_open(str(path), framework="np"):
                pass
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                header = json.loads(file.read(length))
        except (SafetensorError, OSError, ValueError) as error:
            raise AdapterError(f"{path.name} is no complete safetensors file: {_first_line(error)}.") from error
        header.pop("__metadata__", None)
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
        tensor = self.tensors[name]
        with self.path.open("rb") as file:
            file.seek(tensor.start)
            found = file.read(tensor.nbytes)
        if len(found) != tensor.nbytes:
            raise AdapterError(f"{self.path.name} has become shorter while it was read.")
        return found

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
        array = np.frombuffer(self.raw(name), _FLOATS[tensor.dtype]).reshape(tensor.shape)
        if tensor.dtype == "BF16":
            # bfloat16 is the upper half of float32; numpy has no such type.
            wide = np.zeros((*tensor.shape, 2), "<u2")
            wide[..., 1] = array
            array = wide.view("<f4")[..., 0]
        return array.astype(np.float64)


class NewTensor(NamedTuple):
    """A tensor to write: its type as safetensors names it, its shape, and what returns its bytes when they are due."""

    dtype: str
    shape: tuple[int, ...]
    data: Callable[[], bytes]


def write_tensors(path: Path, tensors: Mapping[str, NewTensor]) -> None:
    """Write a safetensors file, holding one tensor in memory at a time.

    Not by the library: its numpy door has no bfloat16, and the one below takes memory addresses.

    Raises:
        AdapterError: a tensor's bytes do not fit its shape.
        OSError: the file cannot be written.
    """
    text, sizes = _header(tensors)
    with path.open("wb") as file:
        file.write(text)
        for (name, tensor), size in zip(tensors.items(), sizes, strict=True):
            data = tensor.data()
            if len(data) != size:
                raise AdapterError(f"{name} takes {len(data)} bytes, not the {size} of its shape.")
            file.write(data)


def written_bytes(tensors: Mapping[str, NewTensor]) -> int:
    """Return the size of the file that ``write_tensors`` would write."""
    text, sizes = _header(tensors)
    return len(text) + sum(sizes)


def _header(tensors: Mapping[str, NewTensor]) -> tuple[bytes, list[int]]:
    """Return what stands before the numbers, and the bytes of each tensor."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end, sizes = 0, []
    for name, tensor in tensors.items():
        sizes.append(math.prod(tensor.shape) * ITEM_BYTES[tensor.dtype])
        header[name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [end, end + sizes[-1]]}
        end += sizes[-1]
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text, sizes


def find_adapter(path: str | Path) -> tuple[Path, dict[str, Any] | None]:
    """Return the weights file and the configuration of an adapter; None for a file with no configuration beside it.

    ``path`` is a folder as PEFT writes it, or a safetensors file.

    Raises:
        AdapterError: nothing there, no adapter, a pickle, a link that leads out of the folder, or a bad configuration.
    """
    path = existing(path, AdapterError, f"Give a folder with {CONFIG} and {WEIGHTS}, or a safetensors file.")
    if path.is_dir():
        return _weights_in(path), _read_config(path / CONFIG)
    if path.suffix in _PICKLES:
        raise AdapterError(f"{path.name} is not opened. {_CONVERT.format(name=path.name)}")
    if path.suffix != ".safetensors":
        raise AdapterError(f"{path.name} is no safetensors file. Give one, or a folder with {CONFIG} and {WEIGHTS}.")
    beside = path.parent / CONFIG
    return _inside(path, path.parent), _read_config(beside) if beside.exists() else None


def _weights_in(folder: Path) -> Path:
    weights = folder / WEIGHTS
    pickle = next((file for file in sorted(folder.glob("adapter_model*")) if file.suffix in _PICKLES), None)
    if not weights.exists():
        if weights.is_symlink():
            raise AdapterError(f"{WEIGHTS} in {folder} is a link to a file that does not exist.")
        if pickle is not None:
            raise AdapterError(f"{folder} has only {pickle.name}. {_CONVERT.format(name=pickle.name)}")
        if (folder / OWN_WEIGHTS).exists():
            raise AdapterError(
                f"{folder} holds an adapter as the Lab saves it. Write it for PEFT first: "
                f"flexlora.adapter_files.load_adapter(model, {folder.name!r}).export_peft('for_peft')."
            )
        found = ", ".join(sorted(file.name for file in folder.iterdir())[:6]) or "nothing"
        raise AdapterError(f"{folder} has no {WEIGHTS}; it holds {found}. Give the folder that PEFT saved.")
    if not (folder / CONFIG).exists():
        raise AdapterError(
            f"{folder} has no {CONFIG}, so the scale alpha / r is unknown. Add it, or give {WEIGHTS} itself: "
            "everything but the scale is then shown."
        )
    return _inside(weights, folder)


def _inside(file: Path, folder: Path) -> Path:
    """Follow links only within the folder, or from a hub snapshot to the blobs of the same repository."""
    real, home = file.resolve(), folder.resolve()
    allowed = [home]
    if home.parent.name == "snapshots":
        allowed.append(home.parent.parent / "blobs")
    if not any(real.is_relative_to(place) for place in allowed):
        raise AdapterError(f"{file.name} is a link that leads out of {folder}. Copy the file itself into the folder.")
    if not real.is_file():
        raise AdapterError(f"{file.name} is not a file.")
    return real


def _read_config(path: Path) -> dict[str, Any]:
    real = _inside(path, path.parent)
    try:
        config = read_json(real, MAX_CONFIG_BYTES)
    except (OSError, ValueError) as error:
        raise AdapterError(f"{CONFIG} cannot be read as JSON: {_first_line(error)}.") from error
    if not isinstance(config, dict):
        raise AdapterError(f"{CONFIG} holds {type(config).__name__}, not the settings of an adapter.")
    return config


def number(config: dict[str, Any], key: str, default: float | None = None) -> float:
    """Return a number of a configuration, at most ``MAX_NUMBER`` in magnitude.

    Raises:
        AdapterError: it is missing, no number or too large.
    """
    value = config.get(key, default)
    # Compared before it is converted: a whole number in JSON may be too large for a float.
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= MAX_NUMBER:
        raise AdapterError(
            f"{CONFIG} has {key}={shown(value)}; a number within ±{MAX_NUMBER:g} is needed to know the scale of ΔW."
        )
    return float(value)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
