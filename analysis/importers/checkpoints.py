"""The checkpoints of any PEFT training as a run: spectra over training, from what the Trainer saved anyway.

Producer: ``transformers.Trainer`` with a PEFT model, ``output_dir/checkpoint-N``: ``adapter_model.safetensors``,
``adapter_config.json``, ``trainer_state.json``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from analysis.adapters import Adapter, AdapterError, analyse_adapter, open_adapter
from analysis.adapters.files import WEIGHTS
from analysis.importers.errors import Imported, LogImportError
from analysis.importers.history import MAX_RANK, MAX_STEP, MAX_VALUES
from analysis.importers.mapping import Row, corrected_rows, matrix_table
from analysis.outside import new_folder, read_json
from flexlora.run_log import RunWriter

KIND = "peft_checkpoints"
STATE = "trainer_state.json"
MAX_STATE_BYTES = 256 << 20
SORTED = (
    "Each record has the singular values of s · B A in descending order: a place in that order is followed, not one "
    "direction."
)
END = "Imported from checkpoints: what happened between them is not known, nor how the training ended."
_NAME = re.compile(r"checkpoint-(\d{1,10})")


def is_checkpoints(path: Path) -> bool:
    """Tell whether a folder holds checkpoints with adapters of PEFT."""
    return path.is_dir() and bool(checkpoint_folders(path))


def checkpoint_folders(path: Path) -> dict[int, Path]:
    """Return step → folder of every ``checkpoint-N`` that holds an adapter, ascending."""
    found = {}
    for folder in path.iterdir():
        match = _NAME.fullmatch(folder.name)
        if match and int(match[1]) <= MAX_STEP and (folder / WEIGHTS).is_file():
            found[int(match[1])] = folder
    return dict(sorted(found.items()))


def checkpoint_rows(path: Path) -> list[Row]:
    """Return a row a matrix, as the first checkpoint has them."""
    first = next(iter(checkpoint_folders(path).values()))
    return _rows(_opened(first))


def import_checkpoints(path: Path, out: Path, mapping: Iterable[Mapping[str, Any]] | None) -> Imported:
    """Write a run folder with one spectrum record a checkpoint, and the losses that the last one knows.

    Raises:
        LogImportError: a checkpoint that cannot be opened, or with other matrices than the first.
        RunLogError: the folder cannot be written.
    """
    folders = checkpoint_folders(path)
    first = _opened(next(iter(folders.values())))
    rows = corrected_rows(_rows(first), mapping)
    names = [row["source"] for row in rows]
    shapes = {matrix.name: (matrix.in_features, matrix.out_features) for matrix in first.matrices}
    notices = [SORTED, *first.notices]
    state = _state(list(folders.values())[-1], notices)
    header = {
        "name": out.name,
        "method": "adalora" if first.kind == "ADALORA" else "lora",
        "preset": None,
        "task": None,
        "config": {},
        "model": (first.config or {}).get("base_model_name_or_path"),
        "matrices": matrix_table(rows),
        "source": {"kind": KIND, "steps": "as logged", "files": [folder.name for folder in folders.values()]},
    }
    with new_folder(out, LogImportError) as made, RunWriter(made, {**header, "name": out.name}) as writer:
        for step, values in _spectra(folders, shapes, names):
            writer.spectrum(step, values, values)
        for step, loss, rate in _losses(state):
            writer.step(step, task_loss=loss, loss=loss, learning_rate=rate)
        for step, metrics in _evaluations(state):
            writer.eval(step, "validation", metrics)
        for notice in notices:
            writer.note("import", message=notice)
        writer.end("stopped", END)
    return Imported(Path(out), KIND, len(rows), len(folders), tuple(notices))


def _spectra(
    folders: Mapping[int, Path], shapes: Mapping[str, tuple[int, int]], names: list[str]
) -> Iterator[tuple[int, list[np.ndarray]]]:
    held = 0
    for step, folder in folders.items():
        adapter = _opened(folder)
        own = {matrix.name: (matrix.in_features, matrix.out_features) for matrix in adapter.matrices}
        if own != dict(shapes):
            unlike = sorted(set(own.items()) ^ set(shapes.items()))[0][0]
            raise LogImportError(f"{folder.name} has other matrices than the first checkpoint, such as {unlike}.")
        found = analyse_adapter(adapter).singular_values
        values = [found[name].astype(np.float32) for name in names]
        held += sum(map(len, values))
        if held > MAX_VALUES or max(map(len, values)) > MAX_RANK:
            raise LogImportError(
                f"The checkpoints hold more than {MAX_VALUES:,} directions, or {MAX_RANK:,} in one matrix. Keep fewer "
                "checkpoints."
            )
        yield step, values


def _opened(folder: Path) -> Adapter:
    try:
        return open_adapter(folder)
    except AdapterError as error:
        raise LogImportError(f"{folder.name}: {error}") from error


def _rows(adapter: Adapter) -> list[Row]:
    return [
        {
            "source": matrix.name,
            "name": matrix.name,
            "layer": matrix.layer,
            "module_type": matrix.module_type,
            "in_features": matrix.in_features,
            "out_features": matrix.out_features,
        }
        for matrix in adapter.matrices
    ]


def _state(folder: Path, notices: list[str]) -> list[dict[str, Any]]:
    """Return the history of the Trainer; empty, with a notice, where there is none."""
    try:
        history = read_json(folder / STATE, MAX_STATE_BYTES)["log_history"]
        return [entry for entry in history if isinstance(entry, dict) and _step(entry) is not None]
    except (OSError, ValueError, KeyError, TypeError):
        notices.append(f"{folder.name} has no readable {STATE}: losses are not known.")
        return []


def _losses(history: list[dict[str, Any]]) -> Iterator[tuple[int, float | None, float | None]]:
    """Yield step, ascending and once each, loss and learning rate."""
    logged = {int(entry["step"]): entry for entry in history if "loss" in entry}
    for step, entry in sorted(logged.items()):
        yield step, _number(entry["loss"]), _number(entry.get("learning_rate"))


def _evaluations(history: list[dict[str, Any]]) -> Iterator[tuple[int, dict[str, float]]]:
    timing = ("runtime", "samples_per_second", "steps_per_second", "model_preparation_time")
    for entry in history:
        pairs = {key.removeprefix("eval_"): _number(value) for key, value in entry.items() if key.startswith("eval_")}
        metrics = {key: value for key, value in pairs.items() if value is not None and not key.endswith(timing)}
        if metrics:
            yield int(entry["step"]), metrics


def _step(entry: Mapping[str, Any]) -> int | None:
    step = entry.get("step")
    return step if isinstance(step, int) and not isinstance(step, bool) and 0 <= step <= MAX_STEP else None


def _number(value: Any) -> float | None:
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if good else None
