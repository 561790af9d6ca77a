"""What kohya, ComfyUI, diffusers and their like have in common: modules with parts under many names, and alphas."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from analysis.adapters.files import MAX_NUMBER, AdapterError, Tensor, numbers
from analysis.adapters.formats.lycoris import HADA, HADA_CORES, KRON, PARTS, kernel_of, loha_product, lokr_product
from analysis.adapters.formats.products import Product, Read, dense, low_rank
from analysis.adapters.formats.record import (
    CONVOLUTION,
    LINEAR,
    Contents,
    Entry,
    Opened,
    check_one_adapter,
    check_product,
    refuse_part,
    refuse_shapes,
)

DOWN, UP, MID, ALPHA, DIFF, DORA = "down", "up", "mid", "alpha", "diff", "dora_scale"

SUFFIXES: dict[str, str] = {
    ".lora_down.weight": DOWN,
    ".lora_up.weight": UP,
    ".lora_mid.weight": MID,
    ".lora.down.weight": DOWN,
    ".lora.up.weight": UP,
    "_lora.down.weight": DOWN,
    "_lora.up.weight": UP,
    ".lora_linear_layer.down.weight": DOWN,
    ".lora_linear_layer.up.weight": UP,
    ".lora_A.weight": DOWN,
    ".lora_B.weight": UP,
    ".lora_A": DOWN,
    ".lora_B": UP,
    ".alpha": ALPHA,
    ".diff": DIFF,
    ".dora_scale": DORA,
    ".lora_magnitude_vector": DORA,
    ".lora_magnitude_vector.weight": DORA,
    **{f".{part}": part for part in PARTS},
    **{f".{part}.weight": part for part in PARTS},
}
"""End of a tensor's name → which part of its module it is."""

_ENDS = sorted(SUFFIXES, key=len, reverse=True)
_NUMBERED = re.compile(r"_lora(\d)\.(down|up)\.weight$")
"""Flux adapters of XLabs: ``proj_lora1`` and ``proj_lora2`` are those of the image and of the text."""
_NAMED = re.compile(r"\.(?P<part>lora_(?:A|B|magnitude_vector))\.(?P<adapter>(?!(?:weight|bias)$)[^.]+)(?:\.weight)?$")
"""PEFT's names within a model: ``lora_A.default.weight``, as a training loop saves that does not take them out."""
STRANGE = {
    ".on_input": "IA³: it multiplies activations, its ΔW is a function of the base weights",
    ".oft_blocks": "OFT: its ΔW is a function of the base weights",
    ".oft_diag": "OFT: its ΔW is a function of the base weights",
    ".a1.weight": "GLoRA: its ΔW is a function of the base weights",
    ".glora_b1.weight": "GLoRA: its ΔW is a function of the base weights",
}
"""End of a name that says which other method a module is of → what is told."""


_NO_PART = ("weight", "bias", "diff_b", "w_norm", "b_norm", "reshape_weight")
"""Last words of names that stand beside factors and are no part of ΔW: norms, biases and their differences, and which
shape ComfyUI gives the base weight before."""
_BIAS = re.compile(r"\.lora(?:_(?:down|up|A|B)(?:\.[^.]+)?|\.(?:down|up))\.bias$")
_OF_LORA = re.compile(r"[._](?P<part>(?:lora\d*|hada|lokr)(?:[._][^.]+)+)$")
_FAMILIES = ({DOWN, UP, MID}, set(HADA) | set(HADA_CORES), set(KRON), {DIFF})
"""Parts of one way to store ΔW."""


class Module(NamedTuple):
    """The tensors of one module, by part; ``alpha`` as a number."""

    parts: dict[str, Tensor]
    alpha: float | None


def sort_pairs(opened: Opened) -> tuple[dict[str, Module], list[str], dict[str, str]]:
    """Return module, as the file writes it → its parts; tensors beside them; module → why it is not read.

    Raises:
        AdapterError: two tensors for one part, two ways of one module to store ΔW, a tensor that is of ΔW and is not
            known, or an alpha that is no number.
    """
    modules: dict[str, dict[str, Tensor]] = {}
    carried, skipped, unknown = [], {}, []
    check_one_adapter({match["adapter"] for name in opened.tensors if (match := _NAMED.search(name))})
    for name, tensor in opened.tensors.items():
        other = next((end for end in STRANGE if name.endswith(end)), None)
        if other is not None:
            skipped[name.removesuffix(other)] = STRANGE[other]
            continue
        module, part = tensor_part(name)
        if part is None:
            unknown.append(name)
            continue
        if part == DIFF and len(tensor.shape) < 2:
            carried.append(name)
            continue
        parts = modules.setdefault(module, {})
        if part in parts:
            raise AdapterError(f"{name} and {parts[part].name} are the same part of {module}: one of them is right.")
        parts[part] = tensor
    found = {}
    for module, parts in modules.items():
        alpha = parts.pop(ALPHA, None)
        if module in skipped:
            continue
        if parts:
            _check_family(module, parts)
            found[module] = Module(parts, None if alpha is None else _number(opened, alpha))
        elif alpha is not None:
            carried.append(alpha.name)
            skipped[module] = "an alpha without factors"
    for name in unknown:
        _check_beside(name, found, skipped)
    return found, [*carried, *unknown], skipped


def _check_family(module: str, parts: Mapping[str, Tensor]) -> None:
    own = [family & set(parts) for family in _FAMILIES if family & set(parts)]
    if len(own) > 1:
        first, second = (parts[min(family)].name for family in own[:2])
        raise AdapterError(f"{module} is stored in two ways, {first} and {second}: what they make together is unknown.")


def _check_beside(name: str, found: Mapping[str, Module], skipped: Mapping[str, str]) -> None:
    """Refuse a tensor that is of ΔW, by its name, and of no known part; what only stands beside is let through."""
    module, _, last = name.rpartition(".")
    of_skipped = any(name.startswith(f"{other}.") for other in skipped)
    if of_skipped or last in _NO_PART[2:] or _BIAS.search(name):
        return
    match = _OF_LORA.search(name)
    if match or (last not in _NO_PART and (module in found or module.startswith(("lora_", "lycoris_")))):
        refuse_part(name, match["part"] if match else last)


@lru_cache(maxsize=1 << 15)
def tensor_part(name: str) -> tuple[str, str | None]:
    """Return which module a tensor is of, as the file writes it, and which part of it; None = none that is known."""
    if match := _NUMBERED.search(name):
        return f"{name[: match.start()]}{match[1]}", match[2]
    if match := _NAMED.search(name):
        return name[: match.start()], SUFFIXES[f".{match['part']}"]
    end = next((end for end in _ENDS if name.endswith(end)), None)
    return (name, None) if end is None else (name.removesuffix(end), SUFFIXES[end])


def _number(opened: Opened, tensor: Tensor) -> float:
    if math.prod(tensor.shape) != 1:
        raise AdapterError(f"{tensor.name} has shape {list(tensor.shape)}; alpha is one number.")
    value = float(numbers(opened.file, tensor).reshape(-1)[0])
    if not abs(value) <= MAX_NUMBER:
        raise AdapterError(f"{tensor.name} is {value:g}; a number within ±{MAX_NUMBER:g} is needed.")
    return value


Scale = Callable[[str, int], float | None]
"""f(name of a module, r) → s where the file has no alpha for it; None = 1."""


def module_entry(stored: str, name: str, module: Module, scale: Scale) -> Entry:
    """Return one module as an entry.

    Args:
        stored: its name in the file, for messages.
        name: as it is shown.
        module: its parts.
        scale: s of modules without an alpha.
    """
    parts = module.parts
    if any(part in parts for part in HADA):
        product, rank = loha_product(stored, parts)
    elif any(part in parts for part in KRON):
        product, rank = lokr_product(stored, parts)
    elif DIFF in parts:
        return _difference(name, parts[DIFF])._replace(magnitude=DORA in parts)
    else:
        product, rank = _low_rank(stored, parts), parts[DOWN].shape[0]
    kernel = kernel_of(parts) or next((parts[p].shape[2:] for p in (MID, DOWN) if p in parts), ())
    if rank is None:
        # Nothing is decomposed: LyCORIS has no r to divide by.
        value = 1.0
    elif module.alpha is not None:
        value = module.alpha / rank if rank else 1.0
    else:
        own = scale(name, rank)
        value = 1.0 if own is None else own
    kind = CONVOLUTION if math.prod(kernel) > 1 else LINEAR
    return Entry(name, product, value, kind, kernel, magnitude=DORA in parts)


def _difference(name: str, tensor: Tensor) -> Entry:
    shape = (tensor.shape[0], math.prod(tensor.shape[1:]))
    if not all(shape):
        raise AdapterError(f"{name}: its difference has shape {list(tensor.shape)}, which holds nothing.")
    product = dense(shape, (tensor,), lambda read: read(tensor.name))
    return Entry(name, product, 1.0, CONVOLUTION if len(tensor.shape) > 2 else LINEAR, tensor.shape[2:])


def _low_rank(module: str, parts: Mapping[str, Tensor]) -> Product:
    missing = [part for part in (DOWN, UP) if part not in parts]
    if missing:
        raise AdapterError(f"{module} has no {missing[0]} factor in this file: without its partner one says nothing.")
    A, B, core = parts[DOWN], parts[UP], parts.get(MID)
    told = f"its down factor has shape {list(A.shape)} and its up factor {list(B.shape)}"
    if len(A.shape) < 2 or len(B.shape) < 2 or any(size != 1 for size in B.shape[2:]):
        refuse_shapes(module, told)
    shape = (B.shape[0], math.prod(A.shape[1:]))
    if core is None:
        check_product(module, (A.shape[0], B.shape[1]), shape, told)
        return low_rank(B, A, shape, A.shape[0])
    if len(core.shape) < 3 or core.shape[:2] != (B.shape[1], A.shape[0]) or math.prod(A.shape[2:]) != 1:
        refuse_shapes(module, f"{told}, and its middle factor {list(core.shape)}")
    return tucker(B, core, A)


def tucker(B: Tensor, core: Tensor, A: Tensor) -> Product:
    """Return B (out, r, 1, 1) · core (r, r, k, k) · A (r, in, 1, 1) of a convolution: rank r all the same."""
    shape = (B.shape[0], A.shape[1] * math.prod(core.shape[2:]))

    def load(read: Read) -> tuple[np.ndarray, np.ndarray]:
        left, middle, right = (read(tensor.name) for tensor in (B, core, A))
        inner = np.einsum("ij...,jq->iq...", middle, right.reshape(right.shape[0], -1))
        return left.reshape(left.shape[0], -1), inner.reshape(middle.shape[0], -1)

    return Product(shape, core.shape[0], (B, core, A), load)


def pair_notices(modules: Mapping[str, Module], carried: Sequence[str], no_alpha: str) -> list[str]:
    """Return what to know of modules like these; ``no_alpha`` is said where some have none."""
    found = []
    if biases := sum(bool(_BIAS.search(name)) for name in carried):
        layers = "1 layer" if biases == 1 else f"{biases} layers"
        found.append(f"{layers} also learned a bias, which is not in the numbers.")
    without = [m for m in modules.values() if m.alpha is None and DIFF not in m.parts]
    if without and no_alpha:
        found.append(f"{_of(len(without), len(modules))} no alpha in the file: {no_alpha}")
    decomposed = sum(DORA in module.parts for module in modules.values())
    if decomposed:
        found.append(
            f"Weight-decomposed (DoRA) in {decomposed} matrices: what is shown is s · B A. The learned magnitudes "
            "rescale the rows of W0 + s · B A, or its columns, and need the base model."
        )
    return found


def _of(count: int, whole: int) -> str:
    return "The matrices have" if count == whole else f"{count} of {whole} matrices have"


def pair_kinds(modules: Mapping[str, Module], contents: Contents) -> None:
    """Fill in the kind and the label by what the modules are made of."""
    labels: dict[str, str] = {}
    for module in modules.values():
        if any(part in module.parts for part in HADA):
            labels["LOHA"] = "LoHa"
        elif any(part in module.parts for part in KRON):
            labels["LOKR"] = "LoKr"
        elif DIFF in module.parts:
            labels["FULL"] = "whole differences"
        else:
            labels["LORA"] = "LoRA"
    contents.kind, contents.label = " + ".join(sorted(labels)) or "LORA", " and ".join(labels.values()) or "LoRA"
