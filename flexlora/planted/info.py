"""What a run's log says of its planted task: sizes of the splits, and the truth."""

from __future__ import annotations

from typing import Any

from flexlora.planted.network import Planted

TRAIN_ROWS = 1 << 20
"""Rows of the training split; a step takes the next ones, from the first again after the last."""
HELD_OUT = {"validation": 512, "test": 2048}


def model_name(planted: Planted) -> str:
    """Return what the frozen network is called."""
    return f"frozen residual network of {planted.size.layers} layers, width {planted.size.width}"


def task_info(planted: Planted, scenario: str) -> dict[str, Any]:
    """Return plain values for ``header["data"]``: matrices by name, in module order."""
    names, truth = planted.size.names, planted.truth
    return {
        "label_names": [],
        "majority": None,
        "sizes": {"train": TRAIN_ROWS, **HELD_OUT},
        "control": "none",
        "scenario": scenario,
        "noise": planted.size.noise,
        "true_ranks": dict(zip(names, truth.ranks, strict=True)),
        "true_energies": dict(zip(names, truth.energies, strict=True)),
        "profiles": dict(zip(names, truth.profiles, strict=True)),
    }
