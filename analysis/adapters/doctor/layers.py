"""Layers that an adapter has twice, or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, pairwise
from typing import Any

import numpy as np

from analysis.adapters.adapter import AdapterMatrix
from analysis.adapters.doctor.finding import LOOK, Check, Examined, Finding, told_layers
from analysis.adapters.doctor.shape import layer_path
from analysis.adapters.relations import listed
from analysis.adapters.words import adapter_label

SAME = 1e-6
"""1 − cosine of two ΔW up to which they are one."""
DIGITS = 6
"""To which σ are equal before two ΔW are compared number by number."""
FEWEST = 4
"""Layers of a stack below which none is missing."""
MOST_MISSING = 0.25
"""Share of the layers of a stack above which the others are rather of another kind than missing."""


def _copied(examined: Examined) -> Finding | None:
    groups: dict[tuple[Any, ...], list[AdapterMatrix]] = {}
    for matrix, values in examined.live:
        told = tuple(f"{value:.{DIGITS}g}" for value in values)
        groups.setdefault((matrix.out_features, matrix.in_features, told), []).append(matrix)
    copies: dict[str, AdapterMatrix] = {}
    for group in groups.values():
        for first, second in combinations(group, 2):
            if second.name not in copies and first.name not in copies and _are_one(examined, first, second):
                copies[second.name] = first
    if not copies:
        return None
    name, first = next(iter(copies.items()))
    copy = examined.adapter.find(name)
    told = f"{adapter_label(copy)} has that of {adapter_label(first)}"
    return Finding(
        "copied",
        LOOK,
        f"ΔW is that of another matrix, number by number, {examined.named(list(copies))}: {told}.",
        "Training gives no two matrices the same numbers: layers were copied when the file was made. Take the file "
        "from before, or train the enlarged model.",
        len(copies),
        tuple(copies),
    )


def _are_one(examined: Examined, first: AdapterMatrix, second: AdapterMatrix) -> bool:
    (B, A), (D, C) = (examined.adapter.factors(matrix.name) for matrix in (first, second))
    norms = [float(np.linalg.norm(examined.spectra.singular_values[matrix.name])) for matrix in (first, second)]
    inner = first.scale * second.scale * float(np.einsum("ij,ji->", B.T @ D, C @ A.T))
    return inner >= (1 - SAME) * norms[0] * norms[1]


def _gap(examined: Examined) -> Finding | None:
    if not _means_every_layer(examined.config):
        return None
    stacks: dict[str, dict[str, set[int]]] = {}
    for matrix in examined.adapter.matrices:
        if matrix.layer is not None:
            stack = layer_path(matrix).rpartition(".")[0]
            stacks.setdefault(stack, {}).setdefault(matrix.module_type, set()).add(matrix.layer)
    told, count = [], 0
    for stack, kinds in stacks.items():
        layers = set.union(*kinds.values())
        where = f" of {stack}" if stack else ""
        missing = _missing({-1, *layers})
        gone = {kind: _missing(own, missing) for kind, own in kinds.items()}
        if missing:
            told.append(f"no matrix of {told_layers(missing)}{where}")
        told += [f"no {kind} of {told_layers(own)}{where}" for kind, own in gone.items() if own]
        count += len(missing) + sum(map(len, gone.values()))
    if not told:
        return None
    return Finding(
        "gap",
        LOOK,
        f"The file holds {listed(told[:3])}{', …' if len(told) > 3 else ''}, and the configuration leaves none out.",
        "Whoever loads it has ΔW = 0, or a random A, there: take the file that was saved first, or name the layers in "
        "layers_to_transform.",
        count,
    )


def _means_every_layer(config: dict[str, Any]) -> bool:
    """Return whether a configuration of PEFT adapts every layer alike, as far as it says."""
    targets = config.get("target_modules")
    if config.get("layers_to_transform") is not None or config.get("exclude_modules"):
        return False
    if isinstance(targets, list):
        return not any(part.isdecimal() for name in targets for part in str(name).split("."))
    return targets == "all-linear"


def _missing(layers: set[int], known: Sequence[int] = ()) -> list[int]:
    """Return numbers between the least and the largest that are not there, unless they are many or evenly spaced."""
    if len(layers) < FEWEST:
        return []
    found = [layer for layer in range(min(layers), max(layers)) if layer not in layers and layer not in known]
    steps = {after - before for before, after in pairwise(found)}
    # Every fourth layer of another kind is how models are built.
    regular = len(found) > 2 and len(steps) == 1 and steps != {1}
    return [] if regular or len(found) > MOST_MISSING * (max(layers) - min(layers) + 1) else found


LAYERS = (
    Check(
        "copied",
        "Copied layers",
        f"σ equal to {DIGITS} digits and a cosine of ΔW within {SAME:g} of 1, in two matrices of one adapter",
        "matrices begin at different numbers and see different inputs: the atlas has no two of the same ΔW",
        _copied,
    ),
    Check(
        "gap",
        "Missing layers",
        f"a layer, or one of its types, is missing between others, in at most {MOST_MISSING:.0%} of {FEWEST} layers or "
        "more, not at regular distances, where the configuration names types of modules only",
        "PEFT adapts every layer in which it finds a module of that name",
        _gap,
        needs_config=True,
    ),
)
