"""Several safetensors files that are one adapter, by an index or by their names; a part of them is never read alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from analysis.adapters.damage import what_it_is
from analysis.adapters.files import MAX_CONFIG_BYTES, AdapterError, Tensor, TensorFile
from analysis.outside import first_line, listed, read_json

_PART = re.compile(r"^(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.safetensors$")


class Shards:
    """Several safetensors files that an index holds together: a ``TensorStore``."""

    def __init__(self, path: Path, files: list[TensorFile]) -> None:
        self.path, self.size = path, sum(file.size for file in files)
        self.tensors: dict[str, Tensor] = {}
        self.metadata: dict[str, str] = {}
        self._file: dict[str, TensorFile] = {}
        for file in files:
            twice = next((name for name in file.tensors if name in self.tensors), None)
            if twice is not None:
                raise AdapterError(
                    f"{twice} stands in {self._file[twice].path.name} and in {file.path.name}: once is right."
                )
            self.tensors |= file.tensors
            self.metadata |= file.metadata
            self._file |= dict.fromkeys(file.tensors, file)

    def raw(self, name: str) -> bytes:
        """Return a tensor's bytes as stored."""
        return self._file[name].raw(name)

    def read(self, name: str) -> np.ndarray:
        """Return a tensor as float64; ``AdapterError`` where it holds no plain floating-point numbers."""
        return self._file[name].read(name)


def first_parts(files: Sequence[Path]) -> list[Path]:
    """Return files with only the first that is there of those that are parts of one, as their names say."""
    found: dict[object, Path] = {}
    for file in sorted(files):
        match = _PART.match(file.name)
        found.setdefault((file.parent, match["stem"], match["count"]) if match else file, file)
    return list(found.values())


def without_part(name: str) -> str:
    """Return the name of a file without its ending, and without which part of an adapter it is."""
    match = _PART.match(name)
    return match["stem"] if match else Path(name).stem


def all_parts(file: Path) -> list[Path]:
    """Return every file that one is a part of, in order; of one that is none, itself.

    Raises:
        AdapterError: parts are missing.
    """
    match = _PART.match(file.name)
    if match is None:
        return [file]
    stem, count = match["stem"], int(match["count"])
    parts = [file.with_name(f"{stem}-{number:05}-of-{count:05}.safetensors") for number in range(1, count + 1)]
    missing = [part.name for part in parts if not part.is_file()]
    if missing:
        raise AdapterError(f"{file.name} is one of {count} parts; {listed(missing)} is missing. Give all of them.")
    return parts


def indexed(index: Path, real: Path) -> tuple[list[str], set[str]]:
    """Return the names of the files that an index names, and of the tensors in them; ``real`` is where it lies.

    Raises:
        AdapterError: it is no index, or names something that is no file beside it.
    """
    try:
        found = read_json(real, MAX_CONFIG_BYTES)["weight_map"]
        names, tensors = sorted(set(found.values())), set(found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        told = what_it_is(real) or (
            f"{index.name} says nothing of the files that it is of: {first_line(error)}. Save the adapter anew."
        )
        raise AdapterError(told) from error
    for name in names:
        if not isinstance(name, str) or Path(name).name != name or not (index.parent / name).exists():
            raise AdapterError(
                f"{index.name} names {name!r}, which is not in {index.parent}. All of its files are needed."
            )
    return names, tensors


def check_indexed(index: Path, shards: Shards, tensors: set[str]) -> None:
    """Refuse files that lack a tensor which their index names."""
    missing = sorted(tensors - set(shards.tensors))
    if missing:
        raise AdapterError(
            f"{index.name} names {missing[0]}, which is in none of its files: the adapter is not whole. Save it anew."
        )
