"""Adapters of MLX: ``adapters.safetensors`` with both factors transposed, and the scale in ``adapter_config.json``."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import numpy as np

from analysis.adapters.files import AdapterError, Tensor, number
from analysis.adapters.formats.format import Format
from analysis.adapters.formats.mlx_plan import MLX_WRITER
from analysis.adapters.formats.products import Product, low_rank
from analysis.adapters.formats.record import (
    EXPERT,
    LINEAR,
    Contents,
    Entry,
    Opened,
    check_product,
    refuse_part,
    refuse_shapes,
)
from analysis.outside import shown

_PART = re.compile(r"^(?P<module>.+)\.(?P<part>lora_a|lora_b|m)$")
_KEYS = frozenset({"rank", "scale", "alpha", "dropout", "keys"})
"""Of ``lora_parameters``."""


def _is_mlx(opened: Opened) -> bool:
    if opened.config is not None and "peft_type" in opened.config:
        return False
    return any(name.endswith((".lora_a", ".lora_b")) for name in opened.tensors)


def _read(opened: Opened) -> Contents:
    _check_kind(opened.config)
    settings = _settings(opened.config)
    scale = _scale(settings)
    contents = Contents("LORA", "LoRA")
    modules: dict[str, dict[str, Tensor]] = {}
    for name, tensor in opened.tensors.items():
        match = _PART.match(name)
        if match is None:
            if strange := re.search(r"\.(lora_\w+)", name):
                refuse_part(name, strange[1])
            contents.carried.append(name)
        else:
            modules.setdefault(match["module"], {})[match["part"]] = tensor
    magnitudes = 0
    for module, parts in modules.items():
        if "m" in parts:
            contents.carried.append(parts["m"].name)
            magnitudes += len(parts) > 1
        if set(parts) != {"m"}:
            own = _entries(module, parts, 1.0 if scale is None else scale)
            contents.entries += [entry._replace(magnitude="m" in parts) for entry in own]
    if scale is None:
        contents.notices.append("No lora_parameters in adapter_config.json: the scale is unknown and taken as 1.")
    if magnitudes:
        contents.label = "weight-decomposed (DoRA) LoRA"
        contents.notices.append(
            f"Weight-decomposed (DoRA) in {magnitudes} matrices: what is shown is s · B A. The learned magnitudes "
            "rescale the rows of W0 + s · B A and need the base model."
        )
    return contents


def _check_kind(config: dict[str, Any] | None) -> None:
    """Refuse a way of tuning that is not known: ``full`` trains whole weights and never comes here."""
    kind = (config or {}).get("fine_tune_type")
    if kind not in (None, "lora", "dora"):
        raise AdapterError(
            f"This adapter has fine_tune_type={shown(kind)}, which this version does not know: its numbers would be "
            "wrong. lora and dora can be opened."
        )


def _settings(config: dict[str, Any] | None) -> dict[str, Any] | None:
    found = (config or {}).get("lora_parameters")
    if found is None:
        return None
    if not isinstance(found, dict):
        raise AdapterError(f"lora_parameters is {shown(found)}; rank and scale are needed there.")
    strange = [key for key in found if key not in _KEYS and found[key] not in (None, False)]
    if strange:
        raise AdapterError(
            f"This adapter uses {strange[0]}={shown(found[strange[0]])} of lora_parameters, which this version "
            "does not know: its numbers would be wrong."
        )
    return found


def _scale(settings: dict[str, Any] | None) -> float | None:
    """Return s: ``scale``, times alpha / rank in files of the versions that had an alpha."""
    if settings is None:
        return None
    scale = number(settings, "scale", 20.0 if "alpha" not in settings else 10.0)
    if "alpha" not in settings:
        return scale
    rank = number(settings, "rank", 8)
    if rank <= 0:
        raise AdapterError(f"lora_parameters has rank={rank:g}; above 0 is needed.")
    return scale * number(settings, "alpha") / rank


def _entries(module: str, parts: dict[str, Tensor], scale: float) -> list[Entry]:
    missing = [part for part in ("lora_a", "lora_b") if part not in parts]
    if missing:
        raise AdapterError(f"{module} has no {missing[0]} in this file: a factor without its partner says nothing.")
    A, B = parts["lora_a"], parts["lora_b"]
    if len(B.shape) == 3 and len(A.shape) in (2, 3):
        return _experts(module, A, B, scale)
    told = f"lora_a has shape {list(A.shape)} and lora_b {list(B.shape)}, transposed"
    if not len(A.shape) == len(B.shape) == 2:
        refuse_shapes(module, told)
    shape = B.shape[1], A.shape[0]
    check_product(module, (A.shape[1], B.shape[0]), shape, told)
    product = low_rank(B, A, shape, A.shape[1], change_A=np.transpose, change_B=np.transpose)
    return [Entry(module, product, scale, LINEAR)]


def _experts(module: str, A: Tensor, B: Tensor, scale: float) -> list[Entry]:
    """Return one entry an expert: A (experts · r, in) or (experts, r, in), B (experts, out, r)."""
    experts, out, rank = B.shape
    rows = A.shape[0] if len(A.shape) == 2 else A.shape[0] * A.shape[1]
    told = f"lora_a has shape {list(A.shape)} and lora_b {list(B.shape)} of {experts} experts"
    check_product(module, (rows, experts * rank), (out, A.shape[-1]), told)
    owner, _, last = module.rpartition(".")
    return [Entry(f"{owner}.{number}.{last}", _expert(A, B, number), scale, EXPERT) for number in range(experts)]


def _expert(A: Tensor, B: Tensor, number: int) -> Product:
    experts, out, rank = B.shape
    return low_rank(
        B,
        A,
        (out, A.shape[-1]),
        rank,
        change_A=partial(_of_expert, shape=(experts, rank, A.shape[-1]), number=number),
        change_B=partial(_of_expert, shape=B.shape, number=number),
        share=experts,
    )


def _of_expert(array: np.ndarray, shape: tuple[int, ...], number: int) -> np.ndarray:
    return array.reshape(shape)[number]


MLX = Format(
    "mlx",
    "MLX",
    "`adapters.safetensors` with `adapter_config.json`",
    "`lora_a` and `lora_b` (both transposed) with `lora_parameters`, also of experts",
    "magnitudes of DoRA, norms and heads",
    _is_mlx,
    _read,
    MLX_WRITER,
)
