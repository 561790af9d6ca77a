"""An adapter as the Lab saves it, as the files that PEFT reads: the same ΔW, without torch and without the model."""

from __future__ import annotations

import json
import shutil
import weakref
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
from safetensors.numpy import save

from analysis.adapters.adapter import Adapter
from analysis.adapters.files import CONFIG, MAX_CONFIG_BYTES, OWN_WEIGHTS, WEIGHTS, AdapterError, TensorFile
from analysis.adapters.formats.peft_names import PREFIX
from analysis.adapters.opening import open_adapter
from analysis.outside import expanded, read_json

OWN_CONFIG = "adapter.json"
RUN_ADAPTER = "adapter"
"""Folder of a run in which its adapter lies."""


def is_own(folder: Path) -> bool:
    """Return whether a folder holds an adapter of the Lab, and none of PEFT beside it."""
    return (folder / OWN_WEIGHTS).is_file() and not any((folder / name).exists() for name in (WEIGHTS, CONFIG))


def open_any(path: str | Path) -> Adapter:
    """Open an adapter of any format, also as the Lab saves it: its folder, or the run folder that holds it.

    Raises:
        AdapterError: as ``open_adapter`` and ``peft_files``.
    """
    try:
        folder = expanded(path, AdapterError)
        own = next((place for place in (folder, folder / RUN_ADAPTER) if is_own(place)), None)
    except OSError:
        own = None
    if own is None:
        return open_adapter(path)
    contents = peft_files(own)
    made = Path(mkdtemp(prefix="adapter-"))
    for name, content in contents.items():
        (made / name).write_bytes(content)
    found = open_adapter(made)
    # The folder lives as long as the file is held.
    weakref.finalize(found.file, shutil.rmtree, made, ignore_errors=True)
    return replace(found, name=own.parent.name if own.name == RUN_ADAPTER else own.name)


def peft_files(folder: Path) -> dict[str, bytes]:
    """Return file name → content: A = diag(λ) Q, B = P, and alpha_k = alpha · r_k / initial_rank for each matrix.

    A matrix of rank 0 is left out, as is the head.

    Raises:
        AdapterError: the folder holds no complete adapter of the Lab, or no matrix has a direction left.
    """
    initial, alpha = _settings(folder)
    file = TensorFile(folder / OWN_WEIGHTS)
    tensors: dict[str, np.ndarray] = {}
    ranks: dict[str, int] = {}
    for name in (key.removesuffix(".singular_values") for key in file.tensors if key.endswith(".singular_values")):
        try:
            P, lam, Q = (file.read(f"{name}.{part}") for part in ("P", "singular_values", "Q"))
            scaled = lam[:, None] * Q
        except (KeyError, ValueError, IndexError) as error:
            raise AdapterError(f"{name} is not complete in {OWN_WEIGHTS}: P, λ and Q belong together.") from error
        if not len(lam):
            continue
        ranks[name] = len(lam)
        tensors[f"{PREFIX}{name}.lora_A.weight"] = scaled.astype(np.float32)
        tensors[f"{PREFIX}{name}.lora_B.weight"] = np.ascontiguousarray(P, np.float32)
    if not ranks:
        raise AdapterError("Every matrix has rank 0: there is no adapter to look at.")
    config = {
        "peft_type": "LORA",
        "r": initial,
        "lora_alpha": alpha,
        "target_modules": list(ranks),
        "rank_pattern": ranks,
        "alpha_pattern": {name: alpha * rank / initial for name, rank in ranks.items()},
    }
    return {WEIGHTS: save(tensors), CONFIG: json.dumps(config, indent=1).encode()}


def _settings(folder: Path) -> tuple[int, float]:
    """Return the initial rank and alpha, which make the scale."""
    try:
        found: Any = read_json(folder / OWN_CONFIG, MAX_CONFIG_BYTES)["config"]
        initial, alpha = found["initial_rank"], found["alpha"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AdapterError(f"{OWN_CONFIG} of this adapter is missing or damaged: its scale is unknown.") from error
    if not isinstance(initial, int) or initial < 1 or not isinstance(alpha, int | float):
        raise AdapterError(f"{OWN_CONFIG} names no initial rank and alpha: the scale is unknown.")
    return initial, float(alpha)
