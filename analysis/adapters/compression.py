"""Write an adapter with fewer directions: truncated SVD of every ΔW, as a plain LoRA that PEFT loads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from analysis.adapters.adapter import Adapter, AdapterMatrix
from analysis.adapters.dtypes import rounded, stored
from analysis.adapters.files import CONFIG, WEIGHTS, AdapterError, NewTensor, TensorFile, write_tensors
from analysis.adapters.formats.record import EXPERT
from analysis.adapters.settings import RESHAPED, is_plain, kept, may_go, new_config
from analysis.adapters.sizes import carried_tensors, factor_dtype, planned_factors, stored_factor, written_names
from analysis.adapters.spectra import AdapterSpectra, Progress, factored_svd
from analysis.outside import expanded, new_folder
from flexlora.spectra import true_singular_values


@dataclass(frozen=True)
class TruncationError:
    """What one matrix loses when only its largest directions stay, by its spectrum or as measured in a written file.

    Attributes:
        matrix: its name.
        rank_before: directions it has.
        rank_after: directions it keeps.
        frobenius: ‖ΔW − ΔW'‖_F = √Σ of the dropped σ² (Eckart-Young).
        relative: the same as a share of ‖ΔW‖_F; 0 for a dead matrix.
        spectral: ‖ΔW − ΔW'‖₂ = the largest dropped σ.
    """

    matrix: str
    rank_before: int
    rank_after: int
    frobenius: float
    relative: float
    spectral: float


def truncation_errors(spectra: AdapterSpectra, ranks: Mapping[str, int]) -> list[TruncationError]:
    """Return the error of each matrix for given ranks, from the singular values alone.

    Raises:
        AdapterError: ranks that do not fit, or matrices that hold NaN or infinity.
    """
    _check_ranks(spectra, ranks)
    found = []
    for matrix, values in spectra.rows():
        kept = ranks[matrix.name]
        found.append(_lost(matrix, kept, values[kept:], float(np.linalg.norm(values))))
    return found


def _lost(matrix: AdapterMatrix, kept: int, lost: np.ndarray, whole: float) -> TruncationError:
    """Return the error whose singular values are ``lost``, of a ΔW of norm ``whole``."""
    norm, largest = float(np.linalg.norm(lost)), float(lost.max(initial=0.0))
    return TruncationError(matrix.name, matrix.rank, kept, norm, norm / whole if whole else 0.0, largest)


def total_error(errors: list[TruncationError], spectra: AdapterSpectra) -> dict[str, float]:
    """Return ``frobenius``, ``relative`` and ``spectral`` of all matrices together, as one block-diagonal ΔW."""
    lost = float(np.linalg.norm([error.frobenius for error in errors]))
    whole = float(np.linalg.norm(np.concatenate([values for _, values in spectra.rows()])))
    return {
        "frobenius": lost,
        "relative": lost / whole if whole else 0.0,
        "spectral": max((error.spectral for error in errors), default=0.0),
    }


def compress_adapter(
    spectra: AdapterSpectra,
    ranks: Mapping[str, int],
    folder: str | Path,
    progress: Progress | None = None,
    dtype: str | None = None,
) -> list[TruncationError]:
    """Write the best approximation of every ΔW at the given ranks as a PEFT LoRA adapter.

    B' = U √Σ and A' = √Σ Vᵀ of B A, with the same s. Heads, biases, magnitudes and layers that were not analysed are
    copied unchanged, and so are the factors of a matrix whose rank and type stay. AdaLoRA becomes a plain LoRA with the
    same ΔW. Second copies of factors below ``modules_to_save`` are left out: they would have another rank than the
    configuration says. So are matrices of rank 0, whose ΔW is 0.

    Args:
        spectra: an analysed adapter.
        ranks: matrix → directions to keep, up to its rank; 0 leaves the matrix out.
        folder: must not exist yet, or be empty.
        progress: called after each matrix.
        dtype: key of ``DTYPES``, in which the factors are written; None keeps the type that each has.

    Returns:
        What each matrix loses, measured on the numbers that were written: truncation and rounding.

    Raises:
        AdapterError: ranks that do not fit, matrices with NaN, no configuration, an initialisation that changed the
            frozen weights, numbers too large for the type, or a folder that cannot be written.
    """
    folder = expanded(folder, AdapterError)
    adapter = spectra.adapter
    _check_ranks(spectra, ranks)
    _check_writable(adapter)
    _check_attention(adapter, ranks)
    norms = {name: float(np.linalg.norm(values)) for name, values in spectra.singular_values.items()}
    config, tensors = new_config(adapter, ranks), carried_tensors(adapter)
    # How the original began does not matter to finished weights, and would only cost time when they are loaded.
    config |= {"inference_mode": True, "init_lora_weights": True}
    # What these stored in another shape is written as plain factors.
    config = {key: value for key, value in config.items() if key not in RESHAPED}
    gone = [matrix for matrix in adapter.matrices if not ranks[matrix.name]]
    errors = [_lost(matrix, 0, spectra.singular_values[matrix.name], norms[matrix.name]) for matrix in gone]
    errors += [_lost(m, m.rank, np.zeros(0), norms[m.name]) for m in adapter.matrices if m.layer_kind == EXPERT]

    # Both factors come from one decomposition; one matrix is held at a time.
    @lru_cache(maxsize=1)
    def written(name: str) -> dict[str, bytes]:
        found, error = _factors(adapter, adapter.find(name), ranks[name], dtype, norms[name])
        errors.append(error)
        if progress is not None:
            progress(len(errors), len(adapter.matrices))
        return found

    planned = planned_factors(adapter, ranks, dtype)
    for matrix in kept(adapter, ranks):
        for part, tensor in written_names(matrix).items():
            tensors[tensor] = planned[tensor]._replace(data=lambda name=matrix.name, part=part: written(name)[part])
    write_adapter(folder, tensors, config)
    return errors


def _factors(
    adapter: Adapter, matrix: AdapterMatrix, rank: int, dtype: str | None, whole: float
) -> tuple[dict[str, bytes], TruncationError]:
    """Return part → bytes of the new factors, and what they lose of a ΔW of norm ``whole``."""
    types = {part: factor_dtype(adapter, matrix.name, part, dtype) for part in ("A", "B")}
    product = adapter.entries[matrix.name].product
    if product.plain and rank == product.directions:
        own = {part: stored_factor(adapter, matrix.name, part) for part in types}
        same = {part: tensor.name for part, tensor in own.items() if tensor.dtype == types[part]}
        if len(same) == len(types):
            raw = {part: adapter.file.raw(name) for part, name in same.items()}
            return raw, _lost(matrix, rank, np.zeros(0), whole)
    B, A = adapter.factors(matrix.name)
    made = dict(zip("AB", _truncated(B, A, rank), strict=True))
    new = {part: rounded(factor, types[part]) for part, factor in made.items()}
    # The singular values of s · (B A − B' A'), a product of wider factors.
    signs = np.concatenate([np.ones(matrix.rank), -np.ones(rank)])
    lost = true_singular_values(np.hstack([B, new["B"]]), signs, np.vstack([A, new["A"]]), matrix.scale)
    return {part: stored(new[part], types[part]) for part in new}, _lost(matrix, rank, lost, whole)


def _check_ranks(spectra: AdapterSpectra, ranks: Mapping[str, int]) -> None:
    if spectra.broken:
        raise AdapterError(f"{spectra.broken[0]} holds NaN or infinity, so this adapter cannot be compressed.")
    for matrix in spectra.adapter.matrices:
        asked = ranks.get(matrix.name)
        if asked is None or not 0 <= asked <= matrix.rank:
            raise AdapterError(f"{matrix.name}: rank {asked} was asked for; it can keep 0 to {matrix.rank}.")
        if matrix.layer_kind == EXPERT and asked != matrix.rank:
            raise AdapterError(f"{matrix.name} shares its rank with the other experts: it keeps all {matrix.rank}.")
        if not asked and matrix.rank and not may_go(spectra.adapter, matrix):
            raise AdapterError(f"{matrix.name} has a magnitude or a bias of its own: it must keep a direction.")


def _check_writable(adapter: Adapter) -> None:
    if adapter.config is None and adapter.format == "peft":
        raise AdapterError("Without adapter_config.json the scale is unknown, so no adapter can be written.")
    if adapter.config is None or not is_plain(adapter):
        raise AdapterError(
            f"This is {adapter.label} as {adapter.format} stores it: only LoRA and AdaLoRA of PEFT are written smaller."
        )
    grouped = [m.name for m in adapter.matrices if m.kernel and not adapter.entries[m.name].product.plain]
    if grouped:
        raise AdapterError(
            f"{grouped[0]} adapts a grouped convolution, whose factors cannot be written at other ranks."
        )
    if adapter.config.get("kasa_config"):
        raise AdapterError(
            "KaSA counts from weights that it changed, and PEFT would change them anew at the new ranks."
        )
    if adapter.starts_relative:
        raise AdapterError(
            f"This adapter began with init_lora_weights={adapter.config.get('init_lora_weights')!r} and counts from "
            "changed weights, which PEFT would derive anew at the old ranks. Convert it first: "
            "model.save_pretrained(folder, path_initial_model_for_weight_conversion=...)."
        )


def _check_attention(adapter: Adapter, ranks: Mapping[str, int]) -> None:
    """Refuse unlike ranks in ``nn.MultiheadAttention``: PEFT gives its output projection the rank of its input's."""
    for name, rank in ranks.items():
        owner = name.removesuffix(".base_layer.out_proj")
        if owner != name and ranks.get(owner, rank) != rank:
            raise AdapterError(
                f"{owner} and its out_proj share a rank under PEFT; {ranks[owner]} and {rank} were asked for."
            )


def _truncated(B: np.ndarray, A: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Return A' (rank, in) and B' (out, rank) with B' A' = the best approximation of B A."""
    U, values, V = factored_svd(B, A)
    found = min(rank, values.size)
    root = np.sqrt(values[:found])
    new_B, new_A = np.zeros((len(B), rank)), np.zeros((rank, A.shape[1]))
    new_B[:, :found] = U[:, :found] * root
    new_A[:found] = (V[:, :found] * root).T
    return new_A, new_B


def write_adapter(folder: Path, tensors: Mapping[str, NewTensor], config: dict[str, Any]) -> None:
    """Write both files of a PEFT adapter into a new folder: all or nothing.

    Raises:
        AdapterError: the folder cannot be written.
    """
    try:
        with new_folder(folder, AdapterError) as made:
            write_tensors(made / WEIGHTS, tensors)
            TensorFile(made / WEIGHTS)
            (made / CONFIG).write_text(json.dumps(config, indent=2), encoding="utf-8")
    except OSError as error:
        raise AdapterError(f"{folder} cannot be written: {error.strerror or error}.") from error
