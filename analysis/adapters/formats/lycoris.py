"""LoHa and LoKr, as PEFT and LyCORIS store them: the tensors of one module as a product."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from analysis.adapters.files import AdapterError, Tensor
from analysis.adapters.formats.format import Format
from analysis.adapters.formats.peft_keys import check_keys
from analysis.adapters.formats.peft_names import PREFIX
from analysis.adapters.formats.peft_plan import PEFT_WRITER
from analysis.adapters.formats.products import Product, Read, dense, hadamard, kronecker
from analysis.adapters.formats.record import CONVOLUTION, LINEAR, Contents, Entry, Opened, check_one_adapter
from analysis.adapters.scales import configured_rank, pattern_number

HADA = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")
HADA_CORES = ("hada_t1", "hada_t2")
KRON = ("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2")
PARTS = (*HADA, *HADA_CORES, *KRON)

_PART = re.compile(rf"^(?P<module>.+?)\.(?P<part>{'|'.join(PARTS)})(?:\.(?P<adapter>[^.]+))?$")
LABELS = {"LOHA": "LoHa", "LOKR": "LoKr"}


def loha_product(module: str, parts: Mapping[str, Tensor]) -> tuple[Product, int]:
    """Return ΔW of a LoHa module, and the r that its scale divides by.

    Raises:
        AdapterError: a part is missing, or shapes do not fit.
    """
    _need(module, parts, HADA)
    pairs = []
    for number in ("1", "2"):
        own = tuple(parts[f"hada_w{number}_{side}"] for side in "ab")
        core = parts.get(f"hada_t{number}")
        pairs.append(own if core is None else (*own, core))
    for part in pairs:
        _check_part(module, part)
    if len(pairs[0]) != len(pairs[1]):
        raise AdapterError(f"{module} has one of hada_t1 and hada_t2 in this file: both or none are right.")
    product = hadamard(*pairs)
    if hadamard(pairs[1], pairs[0]).shape != product.shape:
        raise AdapterError(f"{module}: the two halves of its LoHa have different shapes, {_shapes(parts)}.")
    first = pairs[0]
    return product, first[0].shape[1] if len(first) == 2 else first[0].shape[0]


def lokr_product(module: str, parts: Mapping[str, Tensor]) -> tuple[Product, int | None]:
    """Return ΔW of a LoKr module, and the r that its scale divides by; None where both factors are whole.

    Raises:
        AdapterError: a part is missing, or shapes do not fit.
    """
    first, second = (_kron_part(module, parts, number) for number in ("1", "2"))
    for part in (first, second):
        _check_part(module, part)
    rank = next((part[1].shape[0] for part in (second, first) if len(part) > 1), None)
    if len(second) == 1 and len(second[0].shape) == 3 and len(first[0].shape) == 2:
        return _shifted(first, second), rank
    return kronecker(first, second), rank


def _shifted(first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> Product:
    """Return PEFT's product for a 1-D convolution with a whole w2 (c, d, k).

    It takes w1 for (1, a, b) and lays the numbers of the result into (out, in, k) as they come, which is no Kronecker
    product of the two as matrices.
    """
    out1, in1 = first[0].shape[0], first[-1].shape[1]
    out2, in2, kernel = second[0].shape

    def form(read: Read) -> np.ndarray:
        arrays = [read(tensor.name) for tensor in first]
        w1 = arrays[0] if len(arrays) == 1 else arrays[0] @ arrays[1]
        return np.kron(w1[None], read(second[0].name))

    return dense((out1 * out2, in1 * in2 * kernel), (*first, *second), form)


def _kron_part(module: str, parts: Mapping[str, Tensor], number: str) -> tuple[Tensor, ...]:
    whole = parts.get(f"lokr_w{number}")
    if whole is not None:
        return (whole,)
    _need(module, parts, (f"lokr_w{number}_a", f"lokr_w{number}_b"))
    own = parts[f"lokr_w{number}_a"], parts[f"lokr_w{number}_b"]
    core = parts.get("lokr_t2") if number == "2" else None
    return own if core is None else (*own, core)


def _need(module: str, parts: Mapping[str, Tensor], names: tuple[str, ...]) -> None:
    missing = [name for name in names if name not in parts]
    if missing:
        raise AdapterError(f"{module} has no {missing[0]} in this file: a factor without its partner says nothing.")


def _check_part(module: str, part: tuple[Tensor, ...]) -> None:
    shapes = [tensor.shape for tensor in part]
    if len(part) == 1:
        fits = len(shapes[0]) >= 2
    elif len(part) == 2:
        fits = len(shapes[0]) == 2 and len(shapes[1]) >= 2 and shapes[0][1] == shapes[1][0]
    else:
        a, b, core = shapes
        fits = len(a) == len(b) == 2 and len(core) >= 3 and core[:2] == (a[0], b[0])
    if not fits or any(size == 0 for shape in shapes for size in shape):
        raise AdapterError(f"{module}: shapes {', '.join(str(list(shape)) for shape in shapes)} do not make a product.")


def _shapes(parts: Mapping[str, Tensor]) -> str:
    return ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in parts.items())


def kernel_of(parts: Mapping[str, Tensor]) -> tuple[int, ...]:
    """Return the kernel of a convolution as far as the tensors tell; empty where they are matrices."""
    for name in ("hada_t1", "lokr_t2", "lokr_w2"):
        if name in parts and len(parts[name].shape) > 2:
            return parts[name].shape[2:]
    return ()


def _read(opened: Opened) -> Contents:
    config = opened.config or {}
    kind = str(config["peft_type"])
    check_keys(kind, config)
    contents, modules, names = Contents(kind, LABELS[kind]), dict[str, dict[str, Tensor]](), set[str]()
    for name, tensor in opened.tensors.items():
        match = _PART.match(name.removeprefix(PREFIX))
        if match is None:
            if re.search(r"\.(?:hada|lokr)_", name):
                raise AdapterError(
                    f"{name} is no part of {LABELS[kind]} that this version knows: its numbers would be wrong."
                )
            contents.carried.append(name)
            continue
        names.add(match["adapter"] or "")
        modules.setdefault(match["module"], {})[match["part"]] = tensor
    check_one_adapter(names)
    if not modules:
        raise AdapterError(f"The file holds no {LABELS[kind]} factors, though its configuration says {kind}.")
    for module, parts in modules.items():
        product, _ = loha_product(module, parts) if kind == "LOHA" else lokr_product(module, parts)
        contents.entries.append(_entry(module, product, parts, config))
    return contents


def _entry(module: str, product: Product, parts: Mapping[str, Tensor], config: dict[str, Any]) -> Entry:
    alpha = pattern_number(config, "alpha_pattern", module, "alpha", 8)
    rank = configured_rank(config, "LORA", module) or 8
    kernel = kernel_of(parts)
    return Entry(module, product, alpha / rank, CONVOLUTION if math.prod(kernel) > 1 else LINEAR, kernel)


LYCORIS_OF_PEFT = Format(
    "peft",
    "PEFT",
    "as above, `peft_type` LOHA or LOKR",
    "LoHa and LoKr of linear layers and convolutions, as the spectra that they have: Hadamard and Kronecker products",
    "heads",
    lambda opened: (opened.config or {}).get("peft_type") in LABELS,
    _read,
    PEFT_WRITER,
)
