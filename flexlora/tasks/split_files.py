"""Which files of a folder hold which split, shards and the hub's layout included. Torch-free."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from flexlora.errors import FlexLoRAError
from flexlora.tasks.table_files import SUFFIXES

SPLIT_FILES: Mapping[str, tuple[str, ...]] = {
    "train": ("train",),
    "validation": ("validation", "dev", "val", "valid"),
    "test": ("test",),
}
"""Split → beginnings of file names, as in ``train.tsv`` or ``sts-train.csv``."""
DATA_FOLDER = "data"
"""Where repositories of the hub keep their files."""
# The hash at the end is that of older versions of the datasets library.
_SHARD = re.compile(r"(?P<head>.*?)[-_.]?(?P<part>\d+)(?:[-_]of[-_](?P<total>\d+)(?:-[0-9a-f]{8,})?)?")


def find_split_files(folder: Path) -> dict[str, list[Path]]:
    """Return split → its file, or its shards in order; empty where there is none.

    Looked for in the folder itself, then in its folder ``data``; in each first for files with the name of a split, then
    for folders with that name that hold files.

    Raises:
        FlexLoRAError: two files for one split that are no shards, a shard that is missing, one file for two splits.
    """
    for place in (folder, folder / DATA_FOLDER):
        if place.is_dir() and (found := _by_file_name(place) or _by_folder_name(place)):
            return found
    return {}


def told_content(folder: Path) -> str:
    """Return what a folder holds, for a refusal."""
    return ", ".join(sorted(path.name for path in folder.iterdir())[:10]) or "nothing"


def _by_file_name(folder: Path) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in _files(folder):
        words = re.split("[-_]", path.stem.lower())
        mine = [split for split, names in SPLIT_FILES.items() if any(word in names for word in words)]
        if len(mine) > 1:
            raise FlexLoRAError(f"{path} could be {' or '.join(mine)} by its name. Name it after one of them.")
        for split in mine:
            found.setdefault(split, []).append(path)
    return {split: _in_order(folder, split, found[split]) for split in SPLIT_FILES if split in found}


def _by_folder_name(folder: Path) -> dict[str, list[Path]]:
    found = {}
    for split, names in SPLIT_FILES.items():
        mine = [folder / name for name in names if (folder / name).is_dir() and _files(folder / name)]
        if len(mine) > 1:
            raise FlexLoRAError(
                f"{folder} has more than one {split} folder: {', '.join(path.name for path in mine)}. Leave one there."
            )
        if mine:
            found[split] = sorted(_files(mine[0]), key=_natural)
            if len({path.suffix.lower() for path in found[split]}) > 1:
                told = ", ".join(path.name for path in found[split][:5])
                raise FlexLoRAError(f"{mine[0]} has files of several formats: {told}. Leave one format there.")
    return found


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())


def _natural(path: Path) -> list[tuple[int, str]]:
    # Shard 10 comes after shard 9.
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name)]


def _in_order(folder: Path, split: str, files: list[Path]) -> list[Path]:
    """Return the shards of a split in order of their numbers."""
    matches = [_SHARD.fullmatch(path.stem.lower()) for path in files]
    parts = {int(match["part"]): path for match, path in zip(matches, files, strict=True) if match}
    kinds = {(match["head"], match["total"], path.suffix.lower()) if match else path.name
             for match, path in zip(matches, files, strict=True)}  # fmt: skip
    if len(files) > 1 and (len(kinds) > 1 or len(parts) < len(files)):
        told = ", ".join(path.name for path in files)
        raise FlexLoRAError(
            f"{folder} has more than one {split} file: {told}. Leave one there, or number shards as in "
            f"{split}-00000-of-00002{files[0].suffix}."
        )
    total = matches[0]["total"] if matches[0] else None
    if total is not None:
        first = 0 if 0 in parts else 1
        missing = sorted(set(range(first, first + int(total))) - set(parts))
        if missing:
            raise FlexLoRAError(
                f"{folder} has {len(files)} of {int(total)} shards of {split}: number {missing[0]} is missing, beside "
                f"{files[0].name}."
            )
    return [parts[number] for number in sorted(parts)] if len(files) > 1 else files
