"""Rows of a task's three splits, from files in a folder or from the datasets library. Torch-free."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd

from flexlora.errors import FlexLoRAError
from flexlora.tasks.files import fixed_order
from flexlora.tasks.source import SourceOptions

SPLIT_FILES = {"train": ("train",), "validation": ("validation", "dev", "val", "valid"), "test": ("test",)}
"""Split → beginnings of file names, as in ``train.tsv`` or ``sts-train.csv``."""
SUFFIXES = (".tsv", ".csv", ".jsonl", ".json", ".parquet")
VALIDATION_SHARE = 10
"""Without validation rows, every tenth row of train is held out."""
SALT = "flexlora-lab tables 1"


def read_splits(source: SourceOptions, labelled: Callable[[pd.DataFrame], pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return train, validation and test rows, each in a fixed shuffled order.

    A test split without labels is left out; without one validation serves as test, and without validation every
    tenth row of train is held out.

    Args:
        source: says where.
        labelled: drops the rows of a split that have no label; raises ``FlexLoRAError`` on columns it cannot use.

    Raises:
        FlexLoRAError: nothing there, or nothing that can be read.
    """
    if not source.data:
        raise FlexLoRAError("data= is needed: a folder with train, validation and test files, or a datasets name.")
    folder = Path(source.data)
    tables = _from_folder(folder, source) if folder.is_dir() else _from_hub(source)
    return split_rows({name: labelled(table) for name, table in tables.items()}, source)


def split_rows(tables: Mapping[str, pd.DataFrame], source: SourceOptions) -> dict[str, pd.DataFrame]:
    """Shuffle labelled rows and make three splits of those there are; see ``read_splits``."""
    if "train" not in tables:
        raise FlexLoRAError(f"data={source.data} has no train split; found: {', '.join(sorted(tables)) or 'nothing'}.")
    splits = {name: _shuffled(table) for name, table in tables.items()}
    splits = {name: table for name, table in splits.items() if len(table)}
    if "train" not in splits:
        raise FlexLoRAError(f"data={source.data} has no labelled row in its train split.")
    if "validation" not in splits:
        train = splits["train"]
        held = train.index % VALIDATION_SHARE == 0
        splits["validation"], splits["train"] = train.loc[held].copy(), train.loc[~held].copy()
    splits.setdefault("test", splits["validation"])
    for name, table in splits.items():
        if not len(table):
            raise FlexLoRAError(f"data={source.data} has too few rows: nothing is left for {name}.")
    return {name: splits[name].reset_index(drop=True) for name in SPLIT_FILES}


def _shuffled(table: pd.DataFrame) -> pd.DataFrame:
    order = fixed_order([str(row) for row in range(len(table))], SALT)
    return table.iloc[[int(row) for row in order]].reset_index(drop=True)


def _from_folder(folder: Path, source: SourceOptions) -> dict[str, pd.DataFrame]:
    found: dict[str, pd.DataFrame] = {}
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    for split, names in SPLIT_FILES.items():
        mine = [path for path in files if any(part in names for part in re.split("[-_]", path.stem.lower()))]
        if len(mine) > 1:
            told = ", ".join(path.name for path in mine)
            raise FlexLoRAError(f"{folder} has more than one {split} file: {told}. Leave one there.")
        if mine:
            found[split] = read_table(mine[0], source.columns)
    if not found:
        raise FlexLoRAError(
            f"{folder} has no train, validation or test file ({', '.join(SUFFIXES)}); it holds: "
            f"{', '.join(sorted(path.name for path in folder.iterdir())[:10]) or 'nothing'}."
        )
    return found


def read_table(path: Path, columns: tuple[str, ...] | None = None) -> pd.DataFrame:
    """Return the rows of one file.

    Args:
        path: ``.tsv``, ``.csv``, ``.jsonl``, ``.json`` (a list of objects) or ``.parquet``.
        columns: names of a file without a header line; - = a column to leave out.

    Raises:
        FlexLoRAError: it cannot be read, or has another number of columns.
    """
    kind = path.suffix.lower()
    try:
        if kind in (".tsv", ".csv"):
            table = _separated(path, columns)
        elif kind == ".parquet":
            table = pd.read_parquet(path)
        elif kind == ".jsonl":
            lines = path.read_text(encoding="utf-8").splitlines()
            table = pd.DataFrame([json.loads(line) for line in lines if line.strip()])
        else:
            table = pd.DataFrame(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise FlexLoRAError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    if table.empty:
        raise FlexLoRAError(f"{path} has no rows.")
    return table


def _separated(path: Path, columns: tuple[str, ...] | None) -> pd.DataFrame:
    text = path.read_text(encoding="utf-8-sig")
    sign = "\t" if "\t" in text.partition("\n")[0] else ","
    # GLUE's tab-separated files never quote: an apostrophe there is a letter.
    quoting = csv.QUOTE_NONE if sign == "\t" else csv.QUOTE_MINIMAL
    rows = [row for row in csv.reader(text.splitlines(), delimiter=sign, quoting=quoting) if row]
    names = list(columns) if columns else rows.pop(0)
    short = next((number for number, row in enumerate(rows, 1 if columns else 2) if len(row) < len(names)), None)
    if short is not None:
        raise ValueError(f"row {short} has fewer than {len(names)} columns ({', '.join(names)})")
    # Rows of STS-B end with columns that only some have.
    kept = {name: [row[place] for row in rows] for place, name in enumerate(names) if name != "-"}
    return pd.DataFrame(kept)


def _from_hub(source: SourceOptions) -> dict[str, pd.DataFrame]:
    from flexlora.tasks.models import hub_reachable, without_network

    name, _, subset = str(source.data).partition(":")
    try:
        import datasets
    except ImportError as error:
        raise FlexLoRAError(
            f"data={source.data} is no folder here; to load it by name, run: pip install datasets"
        ) from error
    try:
        if not hub_reachable():
            settings: Any = import_module("datasets.config")
            settings.HF_HUB_OFFLINE = True
        loaded: Any = datasets.load_dataset(name, subset or None)
    except Exception as error:  # datasets raises a different class for every way to fail
        if not hub_reachable():
            raise FlexLoRAError(
                f"{without_network(f'data={source.data}')}. Connect once, or give a folder with train, validation and "
                "test files."
            ) from error
        raise FlexLoRAError(f"data={source.data} cannot be loaded: {str(error).splitlines()[0]}") from error
    return _hub_splits(loaded)


def _hub_splits(loaded: Mapping[str, Any]) -> dict[str, pd.DataFrame]:
    found = {}
    for split, names in SPLIT_FILES.items():
        name = next((key for key in loaded if any(key.startswith(start) for start in names)), None)
        if name is not None:
            found[split] = loaded[name].to_pandas()
    return found
