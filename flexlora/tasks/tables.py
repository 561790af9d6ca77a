"""Rows of a task's three splits, from files in a folder or from the datasets library. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd

from flexlora.errors import FlexLoRAError
from flexlora.tasks.columns import named_columns
from flexlora.tasks.files import fixed_order
from flexlora.tasks.rows import PLACE, Rows, joined
from flexlora.tasks.source import SourceOptions
from flexlora.tasks.split_files import SPLIT_FILES, find_split_files, told_content
from flexlora.tasks.table_files import SUFFIXES, read_file

VALIDATION_SHARE = 10
"""Without validation rows, every tenth row of train is held out."""
SALT = "flexlora-lab tables 1"


def read_rows(source: SourceOptions) -> dict[str, Rows]:
    """Return split → its rows as they are, train first.

    Raises:
        FlexLoRAError: nothing there, or nothing that can be read.
    """
    if not source.data:
        raise FlexLoRAError("data= is needed: a folder with train, validation and test files, or a datasets name.")
    named_columns(source)
    folder = Path(source.data)
    if folder.is_file():
        raise FlexLoRAError(f"data={folder} is a file. Give its folder: its name has to hold train, and others theirs.")
    return _from_folder(folder, source) if folder.is_dir() else _from_hub(source)


def split_rows(tables: Mapping[str, pd.DataFrame], source: SourceOptions) -> dict[str, pd.DataFrame]:
    """Return train, validation and test rows, each in a fixed shuffled order.

    A split without rows is left out; without validation every tenth row of train is held out, and without test
    validation serves as test.

    Args:
        tables: split → its labelled rows.
        source: for refusals.

    Raises:
        FlexLoRAError: no training rows, or too few.
    """
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
        splits["validation"][PLACE] += ", held out as every tenth row of train"
    splits.setdefault("test", splits["validation"])
    for name, table in splits.items():
        if not len(table):
            raise FlexLoRAError(f"data={source.data} has too few rows: nothing is left for {name}.")
    return {name: splits[name].reset_index(drop=True) for name in SPLIT_FILES}


def _shuffled(table: pd.DataFrame) -> pd.DataFrame:
    order = fixed_order([str(row) for row in range(len(table))], SALT)
    return table.iloc[[int(row) for row in order]].reset_index(drop=True)


def read_table(path: Path, columns: tuple[str, ...] | None = None, delimiter: str | None = None) -> pd.DataFrame:
    """Return the rows of one file, none left out; see ``flexlora.tasks.table_files.read_file``.

    Raises:
        FlexLoRAError: it cannot be read, or has no rows.
    """
    return _some(read_file(path, columns, delimiter), path).table


def _from_folder(folder: Path, source: SourceOptions) -> dict[str, Rows]:
    found = {}
    try:
        listed = find_split_files(folder)
    except OSError as error:
        raise FlexLoRAError(f"data={folder} cannot be listed: {error.strerror}.") from error
    for split, files in listed.items():
        shards = [
            read_file(path, source.columns, source.delimiter, path.relative_to(folder).as_posix()) for path in files
        ]
        found[split] = _some(joined(shards, source), files[0])
    if not found:
        raise FlexLoRAError(
            f"{folder} has no train, validation or test file ({', '.join(SUFFIXES)}); it holds: {told_content(folder)}."
            " Unpack what is compressed, and name or convert the rest so."
        )
    return found


def _some(rows: Rows, path: Path) -> Rows:
    if rows.table.empty:
        raise FlexLoRAError(f"{path} has no rows.")
    return rows


def _from_hub(source: SourceOptions) -> dict[str, Rows]:
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
    return {split: _of_hub(split, table) for split, table in _hub_splits(loaded).items()}


def _of_hub(split: str, table: pd.DataFrame) -> Rows:
    called = f"{split} split"
    return Rows(table, [f"{called}, row {number}" for number in range(1, len(table) + 1)], called)


def _hub_splits(loaded: Mapping[str, Any]) -> dict[str, pd.DataFrame]:
    found = {}
    for split, names in SPLIT_FILES.items():
        name = next((key for key in loaded if any(key.startswith(start) for start in names)), None)
        if name is not None:
            found[split] = loaded[name].to_pandas()
    return found
