"""Write an adapter with fewer directions: truncated SVD of every ΔW, in the format that it has or as PEFT's LoRA."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from analysis.adapters.adapter import Adapter, AdapterMatrix
from analysis.adapters.dtypes import rounded, stored
from analysis.adapters.files import CONFIG, WEIGHTS, AdapterError, NewTensor, TensorFile, write_tensors
from analysis.adapters.formats.plan import Factor
from analysis.adapters.formats.record import EXPERT
from analysis.adapters.plans import SAME, check_writable, planned
from analysis.adapters.settings import may_go
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
    out: str | Path,
    progress: Progress | None = None,
    dtype: str | None = None,
    form: str = SAME,
) -> list[TruncationError]:
    """Write the best approximation of every ΔW at the given ranks, in the format that the adapter has or as PEFT's.

    B' = U √Σ and A' = √Σ Vᵀ of B A, with the same s; where the format cannot hold that s exactly, the factors take
    the rest. Heads, biases, magnitudes and layers that were not analysed are copied unchanged, and so are the factors
    of a matrix whose rank and type stay. AdaLoRA becomes a plain LoRA with the same ΔW. Second copies of factors below
    ``modules_to_save`` are left out: they would have another rank than the configuration says. So are matrices of rank
    0, whose ΔW is 0.

    Args:
        spectra: an analysed adapter.
        ranks: matrix → directions to keep, up to its rank; 0 leaves the matrix out.
        out: a folder that must not exist yet, or be empty; a name that ends in .safetensors is the file itself where
            the format has no configuration beside it.
        progress: called after each matrix.
        dtype: key of ``DTYPES``, in which the factors are written; None keeps the type that each has.
        form: key of ``FORMS``.

    Returns:
        What each matrix loses, measured on the numbers that were written: truncation and rounding.

    Raises:
        AdapterError: ranks that do not fit, matrices with NaN, what the format cannot hold, numbers too large for the
            type, or a folder that cannot be written.
    """
    folder = expanded(out, AdapterError)
    adapter = spectra.adapter
    _check_ranks(spectra, ranks)
    check_writable(adapter, ranks, form)
    plan = planned(adapter, ranks, dtype, form)
    norms = {name: float(np.linalg.norm(values)) for name, values in spectra.singular_values.items()}
    own: defaultdict[str, dict[str, Factor]] = defaultdict(dict)
    for tensor, factor in plan.factors.items():
        own[factor.matrix][tensor] = factor
    left = [matrix for matrix in adapter.matrices if matrix.name not in own]
    errors = [_lost(m, ranks[m.name], spectra.singular_values[m.name][ranks[m.name] :], norms[m.name]) for m in left]

    # Both factors come from one decomposition; one matrix is held at a time.
    @lru_cache(maxsize=1)
    def written(name: str) -> dict[str, bytes]:
        matrix = adapter.find(name)
        found, lost = _factors(adapter, matrix, own[name], plan.scales.get(name, matrix.scale))
        errors.append(_lost(matrix, ranks[name], lost, norms[name]))
        if progress is not None:
            progress(len(errors), len(adapter.matrices))
        return found

    tensors = dict(plan.copied)
    for tensor, factor in plan.factors.items():
        tensors[tensor] = NewTensor(factor.dtype, factor.shape, partial(_tensor, written, factor.matrix, tensor))
    config = None if plan.config is None else plan.config()
    write_adapter(folder, tensors, config, plan.weights, plan.metadata)
    return errors


def _tensor(written: Callable[[str], dict[str, bytes]], matrix: str, tensor: str) -> bytes:
    return written(matrix)[tensor]


def _factors(
    adapter: Adapter, matrix: AdapterMatrix, factors: Mapping[str, Factor], scale: float
) -> tuple[dict[str, bytes], np.ndarray]:
    """Return tensor → bytes of what a matrix is written as, and the σ of what is lost; ``scale`` is the file's s."""
    sources = {tensor: factor.source for tensor, factor in factors.items() if factor.source is not None}
    if len(sources) == len(factors):
        return {tensor: adapter.file.raw(source) for tensor, source in sources.items()}, np.zeros(0)
    parts = {factor.part: (tensor, factor) for tensor, factor in factors.items()}
    rank = parts["A"][1].shape[1 if parts["A"][1].transposed else 0]
    B, A = adapter.factors(matrix.name)
    # What the file's s leaves of the adapter's goes into both factors alike.
    share = matrix.scale / scale if scale else 1.0
    made = dict(zip("AB", (share**0.5 * factor for factor in truncated(B, A, rank)), strict=True))
    new = {part: rounded(factor, parts[part][1].dtype) for part, factor in made.items()}
    # The singular values of s · B A − s' · B' A', a product of wider factors.
    signs = np.concatenate([np.full(matrix.rank, share), -np.ones(rank)])
    lost = true_singular_values(np.hstack([B, new["B"]]), signs, np.vstack([A, new["A"]]), scale)
    found = {}
    for part, (tensor, factor) in parts.items():
        found[tensor] = stored(new[part].T if factor.transposed else new[part], factor.dtype)
    return found, lost


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


def truncated(B: np.ndarray, A: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Return A' (rank, in) and B' (out, rank) with B' A' = the best approximation of B A."""
    U, values, V = factored_svd(B, A)
    found = min(rank, values.size)
    root = np.sqrt(values[:found])
    new_B, new_A = np.zeros((len(B), rank)), np.zeros((rank, A.shape[1]))
    new_B[:, :found] = U[:, :found] * root
    new_A[:found] = (V[:, :found] * root).T
    return new_A, new_B


def write_adapter(
    out: Path,
    tensors: Mapping[str, NewTensor],
    config: dict[str, Any] | None,
    weights: str = WEIGHTS,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write the files of an adapter into a new folder, or the one file that it is: all or nothing.

    Raises:
        AdapterError: they cannot be written there.
    """
    alone = config is None and out.suffix == ".safetensors"
    place = out.with_name(f".{out.name}.new") if alone else out
    try:
        if alone and (out.exists() or out.is_symlink()):
            raise AdapterError(f"{out} exists already. Choose a new name.")
        with new_folder(place, AdapterError) as made:
            write_tensors(made / weights, tensors, metadata)
            TensorFile(made / weights)
            if config is not None:
                (made / CONFIG).write_text(json.dumps(config, indent=2), encoding="utf-8")
            elif alone:
                (made / weights).rename(out)
        if alone:
            place.rmdir()
    except OSError as error:
        raise AdapterError(f"{out} cannot be written: {error.strerror or error}.") from error
