"""Small adapters made with numpy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from analysis.adapters.files import CONFIG, WEIGHTS, NewTensor, write_tensors

PREFIX = "base_model.model."


def _spectrum(values, out_features=12, in_features=10, seed=0) -> tuple[np.ndarray, np.ndarray]:
    """B and A of a matrix with exactly these singular values."""
    rng = np.random.default_rng(seed)
    U = np.linalg.qr(rng.normal(size=(out_features, len(values))))[0]
    V = np.linalg.qr(rng.normal(size=(in_features, len(values))))[0]
    return U * np.asarray(values), V.T


def _write_arrays(folder: Path, arrays: Mapping[str, np.ndarray], **config) -> Path:
    folder.mkdir(parents=True)
    tensors = {}
    for name, array in arrays.items():
        data = np.asarray(array, "<f8")
        tensors[name] = NewTensor("F64", data.shape, data.tobytes)
    write_tensors(folder / WEIGHTS, tensors)
    settings = {"peft_type": "LORA", "r": 4, "lora_alpha": 4, "target_modules": ["query", "value"], **config}
    (folder / CONFIG).write_text(json.dumps(settings))
    return folder


def _write_adapter(folder: Path, matrices: Mapping[str, tuple[np.ndarray, np.ndarray]], **config) -> Path:
    """Write name → (B, A) as a LoRA adapter with s = 1 at rank 4, unless ``config`` says otherwise."""
    arrays = {}
    for name, (B, A) in matrices.items():
        arrays |= {f"{PREFIX}{name}.lora_A.weight": A, f"{PREFIX}{name}.lora_B.weight": B}
    return _write_arrays(folder, arrays, **config)


@pytest.fixture
def spectrum():
    return _spectrum


@pytest.fixture
def write_arrays():
    """f(folder, tensor name → array, **config) → folder."""
    return _write_arrays


@pytest.fixture
def write_adapter():
    """f(folder, matrix → (B, A), **config) → folder."""
    return _write_adapter


@pytest.fixture(scope="session")
def adapter_writer():
    """``write_adapter`` for tests whose examples outlive a fixture of one test."""
    return _write_adapter
