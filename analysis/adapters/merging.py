"""Several adapters of one model as one: linear, TIES and DARE, on ΔW itself, one matrix at a time.

``linear`` is exact: the factors stand side by side, B = [w₁ s₁ B₁, w₂ s₂ B₂, …]. TIES (Yadav et al., NeurIPS 2023) and
DARE (Yu et al., ICML 2024) choose among the entries of ΔW, by the same rules as PEFT's ``ties_svd`` and
``dare_linear_svd``; what they make is not of low rank, and its best approximation at the sum of the ranks is written.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from analysis.adapters.adapter import Adapter
from analysis.adapters.comparison import Group, aligned, base_notices, lacking, representative
from analysis.adapters.compression import write_adapter
from analysis.adapters.dtypes import rounded, stored
from analysis.adapters.files import MAX_NUMBER, AdapterError, NewTensor
from analysis.adapters.formats.peft_names import written_names, written_shapes
from analysis.adapters.formats.peft_plan import carried_tensors, check_kernels
from analysis.adapters.formats.record import EXPERT
from analysis.adapters.many import factors_of, inner_product, labels_of
from analysis.adapters.patterns import unambiguous
from analysis.adapters.relations import merge_summary, merge_warnings
from analysis.adapters.spectra import Progress, factored_svd
from flexlora.brief import Brief
from flexlora.spectra import true_singular_values

Dense = Callable[[Sequence[np.ndarray], Sequence[float], float, np.random.Generator], np.ndarray]
"""f(ΔW of each adapter, weights, density, generator) → the merged ΔW."""
CANCELLED = 1e-7
"""‖merged ΔW‖ as a share of what it would be without cancelling, below which nothing but rounding is left."""
LOST = 0.01
"""Share of an exact sum that rounding may take without a word."""
SMALL = 1024
"""Up to this side a merged ΔW is decomposed exactly; beyond it by subspace iteration."""


def ties(
    deltas: Sequence[np.ndarray], weights: Sequence[float], density: float, rng: np.random.Generator
) -> np.ndarray:
    """Keep each ΔW's largest entries, elect a sign for every entry by their sum, average what has that sign."""
    trimmed = np.stack([_largest(delta, density) for delta in deltas])
    agree = np.sign(trimmed) == np.where(trimmed.sum(axis=0) >= 0, 1.0, -1.0)
    weighted = trimmed * np.asarray(weights).reshape(-1, 1, 1)
    return np.asarray((weighted * agree).sum(axis=0) / np.maximum(agree.sum(axis=0), 1))


def dare(
    deltas: Sequence[np.ndarray], weights: Sequence[float], density: float, rng: np.random.Generator
) -> np.ndarray:
    """Keep a random share of each ΔW's entries, divided by that share; add them."""
    masks = [rng.random(delta.shape) < density for delta in deltas]
    return np.asarray(
        sum(w * delta * mask / density for w, delta, mask in zip(weights, deltas, masks, strict=True)), np.float64
    )


MERGES: dict[str, Dense | None] = {"linear": None, "ties": ties, "dare": dare}
"""Name → how; None = exactly, by factors."""


@dataclass(frozen=True, repr=False)
class Merge(Brief):
    """What a merge wrote.

    Attributes:
        error: ‖merged ΔW − written ΔW‖_F / ‖merged ΔW‖_F over all matrices, or a share of ``apart`` where nothing
            but rounding is left: what the rank and the type could not hold.
        norm: ‖merged ΔW‖_F.
        apart: √Σ w²‖ΔW‖²_F, the norm if the adapters were orthogonal: less is cancelled, more adds up.
        notices: one line for each thing to know.
        warnings: one line for each thing that speaks against the merge.
        summary: what the angles between the ΔW say about it, in one sentence.
    """

    error: float
    norm: float
    apart: float
    notices: tuple[str, ...]
    warnings: tuple[str, ...]
    summary: str


def merge_adapters(
    adapters: Sequence[Adapter],
    folder: str | Path,
    how: str = "linear",
    weights: Sequence[float] | None = None,
    density: float = 0.5,
    seed: int = 0,
    progress: Progress | None = None,
) -> Merge:
    """Write Σ w ΔW, or what TIES or DARE make of the ΔW, as a plain LoRA with s = 1, in float32.

    A matrix that an adapter lacks has ΔW = 0 there: the others' stays. Heads and biases are those of the first.

    Args:
        adapters: two or more of one model.
        folder: must not exist yet, or be empty.
        how: key of ``MERGES``.
        weights: one an adapter; None = 1 each.
        density: of TIES and DARE: share of the entries that stay, above 0 and at most 1.
        seed: of DARE's choice.
        progress: called after each matrix.

    Raises:
        AdapterError: what cannot be merged, in one line that says why; NaN or infinity in any factor is such.
    """
    used = _checked(adapters, how, weights, density)
    groups = aligned(adapters)
    if MERGES[how] is not None:
        _check_density(groups, density)
    common = [representative(group) for group in groups]
    _finite(adapters)
    ranks = {matrix.name: _rank(group) for matrix, group in zip(common, groups, strict=True)}
    sums, rng, done = np.zeros(2), np.random.default_rng(seed), [0]
    products = np.zeros((len(adapters), len(adapters)))

    # Both factors come from one decomposition; one matrix is held at a time.
    @lru_cache(maxsize=1)
    def made(name: str) -> dict[str, bytes]:
        own = factors_of(adapters, groups[places[name]])
        weights = [used[place] for place in own]
        found, squares = _merged(list(own.values()), ranks[name], MERGES[how], weights, density, rng)
        sums[:] += squares
        products[np.ix_(list(own), list(own))] += [[inner_product(a, b) for b in own.values()] for a in own.values()]
        done[0] += 1
        if progress is not None:
            progress(done[0], len(common))
        return found

    places = {matrix.name: place for place, matrix in enumerate(common)}
    tensors = carried_tensors(adapters[0])
    for matrix in common:
        shapes = written_shapes(matrix, ranks[matrix.name])
        for part, tensor in written_names(matrix).items():
            data = partial(_part, made, matrix.name, part)
            tensors[tensor] = NewTensor("F32", shapes[part], data)
    write_adapter(Path(folder), tensors, _config(adapters[0], ranks))
    return _told(adapters, groups, how, used, sums, products)


def _told(
    adapters: Sequence[Adapter],
    groups: Sequence[Group],
    how: str,
    weights: Sequence[float],
    sums: np.ndarray,
    products: np.ndarray,
) -> Merge:
    (lost, norm), names = np.sqrt(sums), labels_of(adapters)
    apart = float(np.sqrt(np.square(weights) @ np.diagonal(products)))
    # Where the parts cancel to the last bits, the rest is rounding, and a share of it says nothing.
    cancelled = 0 < norm <= CANCELLED * apart
    nothing = ["The adapters cancel one another: of the merged ΔW only rounding is left."] if cancelled else []
    if how == "linear" and not cancelled and lost > LOST * norm:
        share = f"{lost / norm:.0%}"
        nothing = [f"F32 loses {share} of the merged ΔW: its parts nearly cancel, or the weights are too small."]
    tasks = [(adapter.config or {}).get("task_type") for adapter in adapters]
    return Merge(
        float(lost / (apart if cancelled else norm)) if norm else 0.0,
        float(norm),
        apart,
        tuple(_left(adapters, names, groups)),
        (
            *nothing,
            *base_notices(adapters, names),
            *lost_heads(adapters, names),
            *merge_warnings(names, tasks, products, weights),
        ),
        merge_summary(names, products, weights, how),
    )


def lost_heads(adapters: Sequence[Adapter], labels: Sequence[str]) -> list[str]:
    """Return a line for every adapter but the first that has a head or biases: a merge does not keep them."""
    first = labels[0]
    kept = f"those of {first} are kept" if adapters[0].carried else f"{first} has none, so the result has none"
    return [
        f"{label} has {_tensors(len(adapter.carried))} beside its matrices, first {adapter.carried[0]}: lost in the "
        f"result, as {kept}. Open {label} first to keep its own."
        for adapter, label in zip(adapters[1:], labels[1:], strict=True)
        if adapter.carried
    ]


def _tensors(count: int) -> str:
    return "1 tensor" if count == 1 else f"{count} tensors"


def _part(made: Callable[[str], dict[str, bytes]], name: str, part: str) -> bytes:
    return made(name)[part]


def _finite(adapters: Sequence[Adapter]) -> None:
    """Refuse NaN and infinity before anything is written."""
    for adapter, name in zip(adapters, labels_of(adapters), strict=True):
        broken = [
            matrix.name
            for matrix in adapter.matrices
            if not all(np.isfinite(factor).all() for factor in adapter.factors(matrix.name))
        ]
        if broken:
            many = "1 matrix" if len(broken) == 1 else f"{len(broken)} matrices"
            raise AdapterError(
                f"{name} holds NaN or infinity in {many}, first {broken[0]}, and so would the merged adapter: nothing "
                "was written. Leave it out, or take an earlier checkpoint of it."
            )


def _merged(
    own: Sequence[tuple[float, np.ndarray, np.ndarray]],
    rank: int,
    dense: Dense | None,
    weights: Sequence[float],
    density: float,
    rng: np.random.Generator,
) -> tuple[dict[str, bytes], np.ndarray]:
    """Return part → bytes, and the squares of what is lost and of the merged norm; ``own`` is (s, B, A) of each."""
    if dense is None:
        B = np.hstack([w * s * left for w, (s, left, _) in zip(weights, own, strict=True)])
        A = np.vstack([right for *_, right in own])
        whole = true_singular_values(B, np.ones(len(A)), A)
        if rank < len(A):
            U, values, V = factored_svd(B, A)
            new_B, new_A = U[:, :rank] * np.sqrt(values[:rank]), (V[:, :rank] * np.sqrt(values[:rank])).T
        else:
            new_B, new_A = B, A
        new_B, new_A = rounded(new_B, "F32"), rounded(new_A, "F32")
        signs = np.concatenate([np.ones(len(A)), -np.ones(rank)])
        lost = true_singular_values(np.hstack([B, new_B]), signs, np.vstack([A, new_A]))
    else:
        delta = dense([s * left @ right for s, left, right in own], weights, density, rng)
        whole = delta
        new_B, new_A = (rounded(factor, "F32") for factor in _best(delta, rank))
        lost = delta - new_B.astype(np.float64) @ new_A
    sums = np.array([np.square(lost).sum(), np.square(whole).sum()])
    return {"A": stored(new_A, "F32"), "B": stored(new_B, "F32")}, sums


def _best(delta: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Return B (out, rank) and A (rank, in) of the largest directions, √σ in each."""
    if min(delta.shape) <= SMALL:
        U, values, Vt = np.linalg.svd(delta, full_matrices=False)
    else:
        # A few more columns than asked for, and four rounds: enough where the spectrum falls at all.
        sketch = np.random.default_rng(0).normal(size=(delta.shape[1], rank + 8))
        for _ in range(4):
            basis = np.linalg.qr(delta @ sketch)[0]
            sketch = np.linalg.qr(delta.T @ basis)[0]
        basis = np.linalg.qr(delta @ sketch)[0]
        small, values, Vt = np.linalg.svd(basis.T @ delta, full_matrices=False)
        U = basis @ small
    root = np.sqrt(values[:rank])
    return U[:, :rank] * root, root[:, None] * Vt[:rank]


def _largest(delta: np.ndarray, density: float) -> np.ndarray:
    """Return ΔW with all but its largest entries set to 0; ``density`` is the share that stays."""
    count = int(density * delta.size)
    if count >= delta.size:
        return delta
    flat = np.abs(delta).ravel()
    kept = np.zeros(delta.size, bool)
    kept[np.argpartition(flat, delta.size - count)[delta.size - count :]] = True
    return np.where(kept.reshape(delta.shape), delta, 0.0)


def _rank(group: Group) -> int:
    matrix = representative(group)
    return max(1, min(sum(one.rank for one in group if one is not None), matrix.in_features, matrix.out_features))


_KEPT = (
    "base_model_name_or_path",
    "task_type",
    "modules_to_save",
    "bias",
    "trainable_token_indices",
    "layer_replication",
    "alora_invocation_tokens",
)
"""Of the first one's configuration: what says how the rest of its file, and ΔW as a whole, is used."""
_ALIKE = {
    "alora_invocation_tokens": "acts only from its invocation tokens on (aLoRA)",
    "layer_replication": "numbers its layers as in an enlarged model (layer_replication)",
}
"""Keys that change what ΔW means: all or none may have them, and in the same way."""


def _check_alike(adapters: Sequence[Adapter]) -> None:
    for key, told in _ALIKE.items():
        values = [(adapter.config or {}).get(key) or None for adapter in adapters]
        if any(value != values[0] for value in values):
            name = next(label for label, value in zip(labels_of(adapters), values, strict=True) if value)
            raise AdapterError(f"{name} {told}, and not every other in the same way: one ΔW cannot be both.")


def _check_density(groups: Sequence[Group], density: float) -> None:
    """Refuse a density at which a whole matrix would be left out."""
    matrix = min((representative(group) for group in groups), key=lambda one: one.in_features * one.out_features)
    size = matrix.in_features * matrix.out_features
    if density * size < 1:
        raise AdapterError(
            f"density={density:g} keeps none of the {size:,} entries of {matrix.name}: 1/{size} or more is needed."
        )


def _config(first: Adapter, ranks: dict[str, int]) -> dict[str, Any]:
    """Return a configuration with s = 1: alpha is r everywhere."""
    config = {key: (first.config or {}).get(key) for key in _KEPT}
    keys = unambiguous(list(ranks))
    r = Counter(ranks.values()).most_common(1)[0][0]
    pattern = {keys[name]: rank for name, rank in ranks.items() if rank != r}
    return {
        **{key: value for key, value in config.items() if value is not None},
        "peft_type": "LORA",
        "r": r,
        "lora_alpha": r,
        "rank_pattern": pattern,
        "alpha_pattern": pattern,
        "target_modules": "|".join(re.escape(name) for name in ranks),
        "fan_in_fan_out": bool((first.config or {}).get("fan_in_fan_out")),
        "inference_mode": True,
    }


def _left(adapters: Sequence[Adapter], labels: Sequence[str], groups: Sequence[Group]) -> list[str]:
    found = lacking(adapters, groups, labels)
    if adapters[0].carried:
        found.append(f"Heads and biases are those of {labels[0]}: {len(adapters[0].carried)} tensors.")
    return found


def _checked(adapters: Sequence[Adapter], how: str, weights: Sequence[float] | None, density: float) -> Sequence[float]:
    if how not in MERGES:
        raise AdapterError(f"Unknown merge {how!r}. Choose one of: {', '.join(MERGES)}.")
    if len(adapters) < 2:
        raise AdapterError(f"{len(adapters)} adapter was given; merging takes two or more.")
    used = [1.0] * len(adapters) if weights is None else list(weights)
    if len(used) != len(adapters) or not np.all(np.abs(used) <= MAX_NUMBER):
        raise AdapterError(
            f"{len(used)} weights for {len(adapters)} adapters: one number each, within ±{MAX_NUMBER:g}, is needed."
        )
    if not 0 < density <= 1:
        raise AdapterError(f"density={density:g} must be above 0 and at most 1, such as 0.5.")
    for adapter in adapters:
        if adapter.config is None or adapter.format != "peft" or any(m.layer_kind == EXPERT for m in adapter.matrices):
            raise AdapterError(
                f"{adapter.name} is {adapter.label} as {adapter.format} stores it: only adapters of PEFT with their "
                "adapter_config.json, and without factors that experts share, are merged."
            )
        if adapter.starts_relative or adapter.config.get("use_dora"):
            what = "DoRA" if adapter.config.get("use_dora") else "weights that its start changed"
            raise AdapterError(f"{adapter.name} has {what}: its ΔW is not the whole change, so it cannot be merged.")
        if adapter.config.get("lora_bias"):
            raise AdapterError(f"{adapter.name} has lora_bias: its biases act beside ΔW, so it cannot be merged.")
        check_kernels(adapter)
    _check_alike(adapters)
    return used
