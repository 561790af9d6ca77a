"""Where an adapter lies: a file, a folder, one of several in a folder, a zip, a repository of the hub."""

from __future__ import annotations

import re
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Any, NamedTuple

from analysis.adapters import hub
from analysis.adapters.damage import error_answer, what_it_is
from analysis.adapters.files import (
    CONFIG,
    MAX_CONFIG_BYTES,
    OWN_WEIGHTS,
    WEIGHTS,
    AdapterError,
    TensorFile,
    TensorStore,
)
from analysis.adapters.formats.gguf import GgufFile
from analysis.adapters.formats.others import check_peft_type
from analysis.adapters.shards import Shards, all_parts, check_indexed, first_parts, indexed
from analysis.adapters.zips import SUFFIXES, unpack
from analysis.outside import existing, expanded, first_line, read_json
from flexlora.matrix_places import natural_order
from flexlora.placeholders import pointer_or_page

INDEX = f"{WEIGHTS}.index.json"
KNOWN_WEIGHTS = (WEIGHTS, INDEX, "adapters.safetensors", "pytorch_lora_weights.safetensors")
"""File names that are weights of an adapter, whatever else lies in the folder: PEFT's, MLX's, those of diffusers."""
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_OF_TRAINING = re.compile(r"training_args\.|optimizer|scheduler|scaler|rng_state|random_states|global_step")
"""What a Trainer leaves beside weights, pickled too."""
DEPTH = 2
"""Folders below the given one in which adapters are looked for: runs of trainers hold checkpoints in folders."""
MOST_LOOKED = 10_000
"""Folders below the given one, all together."""

_RECIPE = (
    "It holds pickled objects, which can run code when they are opened. Where you trust it, and torch is installed, "
    "this makes a file that opens here: python -c \"import torch, safetensors.torch as s; t = torch.load('{name}', "
    "weights_only=True, map_location='cpu'); "
    "s.save_file({{k: v.contiguous().clone() for k, v in t.items()}}, '{out}')\""
)


class SeveralAdapters(AdapterError):
    """A folder that holds several adapters; ``choices`` are their paths, in natural order."""

    def __init__(self, folder: Path, choices: list[Path]) -> None:
        self.choices, self._folder = choices, folder
        super().__init__(f"{self.held(str(folder))}. Give one of them, such as {choices[-1]}.")

    def held(self, where: str) -> str:
        """Return how many adapters ``where`` holds, and the first names."""
        names = [choice.relative_to(self._folder).as_posix() for choice in self.choices]
        told = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
        return f"{where} holds {len(names):,} adapters: {told}"


class TooManyFolders(AdapterError):
    """A folder with more folders below it than are looked into: a part of them would be no answer."""


class Found(NamedTuple):
    """An adapter's files.

    Attributes:
        name: of the folder or the file.
        store: its tensors.
        config: content of ``adapter_config.json``; None = there is none.
        beside: adapters in folders below, which are not opened.
    """

    name: str
    store: TensorStore
    config: dict[str, Any] | None
    beside: list[str]


def find_adapter(path: str | Path) -> Found:
    """Return the files of an adapter: a folder, a safetensors or GGUF file, a zip of one, or ``owner/name`` of the hub.

    Raises:
        SeveralAdapters: a folder that holds more than one.
        AdapterError: nothing there, no adapter, a pickle, a link that leads out of the folder, or a bad configuration.
    """
    if hub.is_name(path) and not _there(path):
        return _in_folder(hub.fetch(str(path)))._replace(name=str(path).rpartition("/")[2])
    path = existing(
        path, AdapterError, f"Give a folder with {CONFIG} and {WEIGHTS}, a safetensors or GGUF file, or a zip of one."
    )
    if path.is_dir():
        return _in_folder(path)
    if path.suffix.lower() == ".zip":
        return _unzipped(path)
    if path.suffix in PICKLES:
        raise AdapterError(pointer_or_page(path) or f"{path.name} is not opened. {recipe(path.name)}")
    if path.name.endswith(".index.json"):
        return _opened(path, path.parent)
    if path.suffix.lower() not in SUFFIXES:
        raise AdapterError(f"{path.name} is no safetensors file. Give one, or a folder with {CONFIG} and {WEIGHTS}.")
    return _opened(path, path.parent)._replace(name=path.resolve().name)


def several_in(path: Path) -> list[Path]:
    """Return the adapters of a folder that has none of its own and more than one below it, in natural order."""
    try:
        # The root of a disk is no folder of adapters: what lies two levels below it is everybody's.
        if path.is_dir() and path.resolve() != path.resolve().parent:
            _in_folder(path)
    except SeveralAdapters as error:
        return error.choices
    except (AdapterError, OSError):
        return []
    return []


def recipe(name: str) -> str:
    """Return how a pickle becomes a safetensors file, as one command."""
    out = WEIGHTS if name.startswith("adapter_model") else f"{Path(name).stem}.safetensors"
    return _RECIPE.format(name=name, out=out)


def _there(path: str | Path) -> bool:
    try:
        return expanded(path, AdapterError).exists()
    except (OSError, ValueError):
        return True


def _in_folder(folder: Path) -> Found:
    weights = next((folder / name for name in KNOWN_WEIGHTS if _is_file(folder / name)), None)
    if weights is not None:
        if weights.name in (WEIGHTS, INDEX) and not (folder / CONFIG).exists():
            raise AdapterError(
                f"{folder} has no {CONFIG}, so the scale alpha / r is unknown. Add it, or give {weights.name} itself: "
                "everything but the scale is then shown."
            )
        return _opened(weights, folder)._replace(beside=_beside(folder))
    choices = sorted([*_loose(folder), *_below(folder)], key=lambda place: natural_order(place.as_posix()))
    if len(choices) == 1:
        only = choices[0]
        return _in_folder(only) if only.is_dir() else _opened(only, folder)
    if choices:
        raise SeveralAdapters(folder, choices)
    raise AdapterError(_without(folder))


def _without(folder: Path) -> str:
    """Return what a folder without an adapter holds, and what to do."""
    if (folder / WEIGHTS).is_symlink() and "annex" in (folder / WEIGHTS).readlink().parts:
        return f"{WEIGHTS} in {folder} is a link of git-annex to a file that is not there: git annex get."
    if (folder / WEIGHTS).is_symlink():
        return f"{WEIGHTS} in {folder} is a link to a file that does not exist."
    if (folder / WEIGHTS).exists():
        return f"{WEIGHTS} is not a file."
    _check_kind(folder)
    pickles = sorted(file for file in folder.iterdir() if file.suffix in PICKLES and not _OF_TRAINING.match(file.name))
    weights = [file for file in pickles if file.name.startswith("adapter_model")] or pickles
    if weights:
        return pointer_or_page(weights[0]) or f"{folder} has only {weights[0].name}. {recipe(weights[0].name)}"
    if (folder / OWN_WEIGHTS).exists():
        return (
            f"{folder} holds an adapter as the Lab saves it. Write it for PEFT first: "
            f"flexlora.adapter_files.load_adapter(model, {folder.name!r}).export_peft('for_peft')."
        )
    found = ", ".join(sorted(file.name for file in folder.iterdir())[:6]) or "nothing"
    return f"{folder} has no {WEIGHTS}; it holds {found}. Give the folder that PEFT saved."


def _check_kind(folder: Path) -> None:
    """Say at once that a configuration is of a kind that is not read, before anybody converts its weights."""
    if (folder / CONFIG).exists() and "peft_type" in (config := _read_config(folder / CONFIG, folder)):
        check_peft_type(config)


def _loose(folder: Path) -> list[Path]:
    """Return files of weights under any name, of several parts the first; the Lab's and an optimizer's are none."""
    aside = {"optimizer.safetensors"} if (folder / CONFIG).exists() else {"optimizer.safetensors", OWN_WEIGHTS}
    files = [file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file()]
    return first_parts([file for file in files if file.name not in aside])


def _below(folder: Path) -> list[Path]:
    """Return folders below this one that hold an adapter of a known name, in natural order."""
    found: list[Path] = []
    level, looked = [folder], 0
    for _ in range(DEPTH):
        inner = [place for outer in level for place in _folders(outer)]
        looked += len(inner)
        if looked > MOST_LOOKED:
            raise TooManyFolders(
                f"{folder} has more than {MOST_LOOKED:,} folders below it, too many to look for adapters in. Give the "
                "folder of one adapter, or one with fewer below it."
            )
        holding = [any(_is_file(place / name) for name in KNOWN_WEIGHTS) for place in inner]
        found += [place for place, holds in zip(inner, holding, strict=True) if holds]
        level = [place for place, holds in zip(inner, holding, strict=True) if not holds]
    return sorted(found, key=lambda place: natural_order(place.as_posix()))


def _beside(folder: Path) -> list[str]:
    """Return the adapters below a folder that has one of its own; nothing where there are too many folders to look."""
    try:
        return [place.relative_to(folder).as_posix() for place in _below(folder)]
    except TooManyFolders:
        return []


def _folders(folder: Path) -> list[Path]:
    try:
        return [
            place for place in folder.iterdir() if place.is_dir() and not place.is_symlink() and place.name[0] != "."
        ]
    except OSError:
        return []


def _is_file(path: Path) -> bool:
    return path.is_file()


def _opened(weights: Path, folder: Path) -> Found:
    """Open one file of weights, with the configuration beside it."""
    config = _read_config(folder / CONFIG, folder) if (folder / CONFIG).exists() else None
    if weights.name.endswith(".index.json"):
        store: TensorStore = _indexed(weights, folder)
    elif weights.suffix.lower() == ".gguf":
        store = GgufFile(_inside(weights, folder))
    else:
        files = [TensorFile(_inside(file, folder)) for file in all_parts(weights)]
        store = files[0] if len(files) == 1 else Shards(folder, files)
    return Found(folder.resolve().name, store, config, [])


def _indexed(index: Path, folder: Path) -> Shards:
    names, tensors = indexed(index, _inside(index, folder))
    found = Shards(folder, [TensorFile(_inside(folder / name, folder)) for name in names])
    check_indexed(index, found, tensors)
    return found


def _unzipped(path: Path) -> Found:
    """Unpack what an adapter is made of into a folder that lives as long as the adapter."""
    place = Path(tempfile.mkdtemp(prefix="adapter-"))
    try:
        unpack(path, path.name, place)
        found = _in_folder(place)
    except SeveralAdapters as error:
        shutil.rmtree(place, ignore_errors=True)
        raise AdapterError(f"{error.held(path.name)}. Unpack it and give one of them.") from error
    except AdapterError as error:
        shutil.rmtree(place, ignore_errors=True)
        # Where it was unpacked to is nothing that anybody has seen.
        raise AdapterError(str(error).replace(str(place), path.name)) from error
    weakref.finalize(found.store, shutil.rmtree, place, ignore_errors=True)
    return found._replace(name=path.stem)


def _inside(file: Path, folder: Path) -> Path:
    """Follow links only within the folder, or from a hub snapshot to the blobs of the same repository."""
    real, home = file.resolve(), folder.resolve()
    allowed = [home]
    parents = [home, *home.parents[:DEPTH]]
    snapshot = next((place for place in parents if place.parent.name == "snapshots"), None)
    if snapshot is not None:
        allowed.append(snapshot.parent.parent / "blobs")
    if not any(real.is_relative_to(place) for place in allowed):
        raise AdapterError(f"{file.name} is a link that leads out of {folder}. Copy the file itself into the folder.")
    if not real.is_file():
        raise AdapterError(f"{file.name} is not a file.")
    return real


def _read_config(path: Path, folder: Path) -> dict[str, Any]:
    real = _inside(path, folder)
    try:
        config = read_json(real, MAX_CONFIG_BYTES)
    except (OSError, ValueError) as error:
        told = what_it_is(real) or f"{CONFIG} cannot be read as JSON: {first_line(error)}."
        # A link into a store of blobs has no name of its own.
        raise AdapterError(told.replace(real.name, CONFIG)) from error
    if not isinstance(config, dict):
        raise AdapterError(f"{CONFIG} holds {type(config).__name__}, not the settings of an adapter.")
    if (said := error_answer(config)) is not None:
        raise AdapterError(f"{CONFIG} is the answer of a server, not the settings: {said}. Download the file itself.")
    return config
