"""Write an adapter with fewer directions: truncated SVD of every ΔW, as a plain LoRA that PEFT loads."""

from __future__ import annotations

import json
import pprint
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from analysis.adapters.adapter import Adapter, AdapterMatrix
from analysis.adapters.files import CONFIG, WEIGHTS, AdapterError, NewTensor, TensorFile, write_tensors
from analysis.adapters.keys import PREFIX, copy_word
from analysis.adapters.scales import pattern_key
from analysis.adapters.spectra import AdapterSpectra, Progress, factored_svd
from analysis.outside import expanded, new_folder
from flexlora.spectra import true_singular_values

_ADALORA_ONLY = (
    "target_r", "init_r", "tinit", "tfinal", "deltaT", "beta1", "beta2", "orth_reg_weight", "total_step",
)  # fmt: skip


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


def lora_settings(adapter: Adapter, ranks: Mapping[str, int]) -> dict[str, Any]:
    """Return ``r``, ``lora_alpha``, ``rank_pattern`` and ``alpha_pattern`` that give each matrix its rank and keep s.

    The most frequent values stand in ``r`` and ``lora_alpha``, the others in the patterns.
    """
    kept = _kept(adapter, ranks)
    names = [matrix.name for matrix in kept]
    alphas = {matrix.name: _alpha(adapter, matrix, ranks[matrix.name]) for matrix in kept}
    # Copies go by the name of what they are copies of.
    others = [name for name in adapter.skipped if not copy_word(name)]
    keys = {name: _unambiguous(name, [*names, *others]) for name in names}
    if others and adapter.config is not None:
        # What was not analysed keeps the rank it has, so what names it must stay; PEFT takes the first key that fits.
        old = adapter.config
        return {
            "r": old.get("r"),
            "lora_alpha": old.get("lora_alpha"),
            "rank_pattern": _before({keys[name]: ranks[name] for name in names}, old.get("rank_pattern")),
            "alpha_pattern": _before({keys[name]: alphas[name] for name in names}, old.get("alpha_pattern")),
        }
    r = Counter(ranks[name] for name in names).most_common(1)[0][0]
    alpha = Counter(alphas.values()).most_common(1)[0][0]
    return {
        "r": r,
        "lora_alpha": alpha,
        "rank_pattern": {keys[name]: ranks[name] for name in names if ranks[name] != r},
        "alpha_pattern": {keys[name]: alphas[name] for name in names if alphas[name] != alpha},
    }


def _before(first: dict[str, Any], then: Mapping[str, Any] | None) -> dict[str, Any]:
    return {**first, **{key: value for key, value in (then or {}).items() if key not in first}}


def config_snippet(adapter: Adapter, ranks: Mapping[str, int]) -> str:
    """Return the ``LoraConfig`` of these ranks as Python source, to train anew with."""
    settings = lora_settings(adapter, ranks)
    config = adapter.config or {}
    targets = [matrix.name for matrix in _kept(adapter, ranks)]
    whole = len(targets) == len(adapter.matrices)
    given = config.get("target_modules")
    fields: dict[str, Any] = {
        "task_type": config.get("task_type"),
        "target_modules": given if isinstance(given, str | list) and given and whole else targets,
        **settings,
    }
    fields |= {key: True for key in ("use_rslora", "use_dora", "fan_in_fan_out") if config.get(key)}
    if saved := config.get("modules_to_save"):
        fields["modules_to_save"] = saved
    lines = []
    for key, value in fields.items():
        if value not in (None, {}):
            text = pprint.pformat(value, width=100, sort_dicts=False).replace("\n", "\n    ")
            lines.append(f"    {key}={text},")
    return "\n".join(["from peft import LoraConfig", "", "config = LoraConfig(", *lines, ")"])


def compress_adapter(
    spectra: AdapterSpectra,
    ranks: Mapping[str, int],
    folder: str | Path,
    progress: Progress | None = None,
    dtype: str = "F32",
) -> list[TruncationError]:
    """Write the best approximation of every ΔW at the given ranks as a PEFT LoRA adapter.

    B' = U √Σ and A' = √Σ Vᵀ of B A, with the same s. Heads, biases, magnitudes and layers that were not analysed are
    copied unchanged. AdaLoRA becomes a plain LoRA with the same ΔW. Second copies of factors below ``modules_to_save``
    are left out: they would have another rank than the configuration says. So are matrices of rank 0, whose ΔW is 0.

    Args:
        spectra: an analysed adapter.
        ranks: matrix → directions to keep, from 1 to its rank.
        folder: must not exist yet, or be empty.
        progress: called after each matrix.
        dtype: key of ``DTYPES``, in which the factors are written.

    Returns:
        What each matrix loses, measured on the numbers that were written: truncation and rounding.

    Raises:
        AdapterError: ranks that do not fit, matrices with NaN, no configuration, an initialisation that changed the
            frozen weights, numbers too large for the type, or a folder that cannot be written.
    """
    folder = expanded(folder, AdapterError)
    adapter = spectra.adapter
    _check_ranks(spectra, ranks)
    _check_writable(adapter, dtype)
    tensors = _carried(adapter)
    errors: list[TruncationError] = []

    # Both factors come from one decomposition; one matrix is held at a time.
    @lru_cache(maxsize=1)
    def written(name: str) -> tuple[bytes, bytes]:
        matrix, whole = adapter.find(name), float(np.linalg.norm(spectra.singular_values[name]))
        A, B = (DTYPES[dtype](factor) for factor in _truncated(adapter, matrix, ranks[name]))
        errors.append(_measured(adapter, matrix, A, B, whole))
        if progress is not None:
            progress(len(errors), len(adapter.matrices))
        return _stored(A, dtype), _stored(B, dtype)

    for matrix in _kept(adapter, ranks):
        shapes = {"A": (ranks[matrix.name], matrix.in_features), "B": (matrix.out_features, ranks[matrix.name])}
        for place, (part, shape) in enumerate(shapes.items()):
            tensors[f"{PREFIX}{matrix.name}.lora_{part}.weight"] = NewTensor(
                dtype, shape, lambda name=matrix.name, place=place: written(name)[place]
            )
    _write(folder, tensors, _config(adapter, ranks))
    return errors


def _bfloat16(array: np.ndarray) -> np.ndarray:
    """Round to the nearest bfloat16, the half way to even; returned as float32 with an empty lower half."""
    bits = array.astype("<f4").view("<u4")
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype("<u4").view("<f4")


def _float16(array: np.ndarray) -> np.ndarray:
    if np.abs(array).max(initial=0.0) > np.finfo("<f2").max:
        raise AdapterError("The factors hold numbers too large for F16. Write F32 or BF16.")
    return array.astype("<f2")


DTYPES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "F32": lambda array: array.astype("<f4"),
    "BF16": _bfloat16,
    "F16": _float16,
}
"""Type of the factors in a written file → f(array) → the array rounded to it."""


def _stored(array: np.ndarray, dtype: str) -> bytes:
    array = np.ascontiguousarray(array)
    return (array.view("<u4") >> 16).astype("<u2").tobytes() if dtype == "BF16" else array.tobytes()


def _measured(
    adapter: Adapter, matrix: AdapterMatrix, new_A: np.ndarray, new_B: np.ndarray, whole: float
) -> TruncationError:
    """Return the error of factors as written: the singular values of s · (B A − B' A'), a product of wider factors."""
    B, A = adapter.factors(matrix.name)
    signs = np.concatenate([np.ones(matrix.rank), -np.ones(new_A.shape[0])])
    lost = true_singular_values(np.hstack([B, new_B]), signs, np.vstack([A, new_A]), matrix.scale)
    return _lost(matrix, new_A.shape[0], lost, whole)


def _kept(adapter: Adapter, ranks: Mapping[str, int]) -> list[AdapterMatrix]:
    """Return the matrices that a LoRA can hold: AdaLoRA may leave one without a direction, PEFT's LoRA may not.

    Raises:
        AdapterError: none is left.
    """
    found = [matrix for matrix in adapter.matrices if ranks[matrix.name]]
    if not found:
        raise AdapterError("Every matrix has rank 0: there is no adapter to write.")
    return found


def _check_ranks(spectra: AdapterSpectra, ranks: Mapping[str, int]) -> None:
    if spectra.broken:
        raise AdapterError(f"{spectra.broken[0]} holds NaN or infinity, so this adapter cannot be compressed.")
    for matrix in spectra.adapter.matrices:
        asked = ranks.get(matrix.name)
        if asked is None or not min(1, matrix.rank) <= asked <= matrix.rank:
            raise AdapterError(f"{matrix.name}: rank {asked} was asked for; it can keep 1 to {matrix.rank}.")


def _check_writable(adapter: Adapter, dtype: str) -> None:
    if dtype not in DTYPES:
        raise AdapterError(f"Unknown type {dtype!r}. Choose one of: {', '.join(DTYPES)}.")
    if adapter.config is None:
        raise AdapterError("Without adapter_config.json the scale is unknown, so no adapter can be written.")
    if adapter.starts_relative:
        raise AdapterError(
            f"This adapter began with init_lora_weights={adapter.config.get('init_lora_weights')!r} and counts from "
            "changed weights, which PEFT would derive anew at the old ranks. Convert it first: "
            "model.save_pretrained(folder, path_initial_model_for_weight_conversion=...)."
        )


def _truncated(adapter: Adapter, matrix: AdapterMatrix, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Return A' (rank, in) and B' (out, rank) with B' A' = the best approximation of B A."""
    U, values, V = factored_svd(*adapter.factors(matrix.name))
    found = min(rank, values.size)
    root = np.sqrt(values[:found])
    new_B, new_A = np.zeros((matrix.out_features, rank)), np.zeros((rank, matrix.in_features))
    new_B[:, :found] = U[:, :found] * root
    new_A[:found] = (V[:, :found] * root).T
    return new_A, new_B


def _carried(adapter: Adapter) -> dict[str, NewTensor]:
    factors = ("lora_A", "lora_B", "lora_E")
    own = {tensor.name for parts in adapter.parts.values() for part, tensor in parts.items() if part in factors}
    return {
        name: NewTensor(tensor.dtype, tensor.shape, partial(adapter.file.raw, name))
        for name, tensor in adapter.file.tensors.items()
        if name not in own and not (copy_word(name) and "lora_" in name)
    }


def _alpha(adapter: Adapter, matrix: AdapterMatrix, rank: int) -> float:
    stabilised = bool((adapter.config or {}).get("use_rslora")) and adapter.kind == "LORA"
    # Rounded to 12 digits: 16 · (3 / 8) shall be 6 and not 5.999...
    return float(f"{matrix.scale * (rank**0.5 if stabilised else rank):.12g}")


def _unambiguous(name: str, names: list[str]) -> str:
    """Return a pattern that names one matrix only: PEFT matches the ends of names."""
    plain = [other for other in names if pattern_key([name], other)]
    return name if plain == [name] else "^" + re.escape(name)


def _config(adapter: Adapter, ranks: Mapping[str, int]) -> dict[str, Any]:
    config = {key: value for key, value in (adapter.config or {}).items() if key not in _ADALORA_ONLY}
    config |= {**lora_settings(adapter, ranks), "peft_type": "LORA", "inference_mode": True}
    if adapter.kind == "ADALORA":
        config["use_rslora"] = False
    kept = _kept(adapter, ranks)
    if len(kept) < len(adapter.matrices):
        # A pattern for whole names: a list of names would also name what ends like one of them.
        config["target_modules"] = "|".join(re.escape(matrix.name) for matrix in kept)
    # How the original began does not matter to finished weights, and would only cost time when they are loaded.
    config["init_lora_weights"] = True
    return config


def _write(folder: Path, tensors: Mapping[str, NewTensor], config: dict[str, Any]) -> None:
    try:
        with new_folder(folder, AdapterError) as made:
            write_tensors(made / WEIGHTS, tensors)
            TensorFile(made / WEIGHTS)
            (made / CONFIG).write_text(json.dumps(config, indent=2), encoding="utf-8")
    except OSError as error:
        raise AdapterError(f"{folder} cannot be written: {error.strerror or error}.") from error
