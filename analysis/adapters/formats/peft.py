"""Adapters as PEFT writes them: LoRA in its variants, and AdaLoRA."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from analysis.adapters.files import AdapterError, Tensor
from analysis.adapters.formats.format import Format
from analysis.adapters.formats.peft_experts import parameter_owners, read_experts
from analysis.adapters.formats.peft_keys import check_keys
from analysis.adapters.formats.peft_names import PREFIX, copy_word
from analysis.adapters.formats.peft_plan import PEFT_WRITER
from analysis.adapters.formats.peft_qalora import MOST_INPUTS, acts_on_groups, qalora_group
from analysis.adapters.formats.peft_words import lora_label, lora_notices
from analysis.adapters.formats.products import block_diagonal, low_rank
from analysis.adapters.formats.record import (
    CONVOLUTION,
    EMBEDDING,
    LINEAR,
    Contents,
    Entry,
    Opened,
    check_one_adapter,
    check_product,
    refuse_part,
    refuse_shapes,
)
from analysis.adapters.scales import configured_rank, matrix_scale

KINDS = ("LORA", "ADALORA")
PAIR = ("lora_A", "lora_B")

_FACTOR = re.compile(
    r"^(?P<module>.+?)\.(?P<part>lora_(?:A|B|E|diag|embedding_A|embedding_B|magnitude_vector))"
    r"(?:\.(?P<adapter>(?!(?:weight|bias)$)[^.]+))?(?:\.(?P<leaf>weight|bias))?$"
)
_BESIDE = re.compile(r"\.lora_(?:monteclora_sampler|velora_\w+|ranknum|dropout)\b|\.(?:lora_\w+)\.base_layer\.")
"""Of LoRA, and no part of ΔW: of the training of MonteCLoRA and VeLoRA, counters of AdaLoRA."""
_UNKNOWN = re.compile(r"\.(lora_\w+)")

Parts = dict[str, Tensor]
"""Part (``lora_A``, ``lora_B``, ``lora_E``, ...) → tensor."""


@dataclass
class _Sorted:
    modules: dict[str, Parts] = field(default_factory=dict)
    carried: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)


def read_lora(opened: Opened, kind: str) -> Contents:
    """Read a LoRA or AdaLoRA.

    Raises:
        AdapterError: a key or a tensor that is not known, no factors, a factor without its partner, several adapters,
            or shapes that do not fit.
    """
    config = opened.config
    if config is not None:
        check_keys(kind, config)
        if config.get("arrow_config"):
            raise AdapterError(
                "This adapter uses arrow_config: it routes each token between others, and has no ΔW of its own. "
                "Open one of those."
            )
    found = _sort(opened.tensors)
    told = ""
    if config is not None and config.get("use_qalora"):
        groups, told = acts_on_groups(config, found.modules)
        config = {**config, "use_qalora": groups}
    contents = Contents(kind, lora_label(kind, config), carried=found.carried, skipped=found.skipped)
    owners = parameter_owners(config)
    for module, parts in found.modules.items():
        kinds = {part.startswith("lora_embedding") for part in parts if part.endswith(("_A", "_B"))}
        if len(kinds) > 1:
            raise AdapterError(
                f"{module} has the factors of an embedding and of another layer: what they make together is unknown."
            )
        if True in kinds:
            contents.entries.append(_embedding(module, parts, config, kind))
        elif config is not None and (targets := owners(module)):
            contents.entries += read_experts(module, parts, targets, config)
        else:
            contents.entries.append(_matrix(module, parts, config, kind))
    contents.notices = [*lora_notices(config, opened, found.modules), *([told] if told else [])]
    return contents


def _sort(tensors: Mapping[str, Tensor]) -> _Sorted:
    found, names = _Sorted(), set[str]()
    for name, tensor in tensors.items():
        match = _FACTOR.match(name.removeprefix(PREFIX))
        if match is None:
            strange = _UNKNOWN.search(name)
            if strange is not None and not copy_word(name) and not _BESIDE.search(name):
                refuse_part(name, strange[1])
            found.carried.append(name)
            continue
        module, part = match["module"], match["part"]
        names.add(match["adapter"] or "")
        copy = copy_word(module)
        if copy:
            found.skipped[module] = f"a copy kept by PEFT ({copy})"
        elif match["leaf"] == "bias" or part == "lora_magnitude_vector":
            found.carried.append(name)
        if not copy and match["leaf"] != "bias":
            found.modules.setdefault(module, {})[part] = tensor
    check_one_adapter(names)
    if not found.modules and not found.skipped:
        first = ", ".join(list(tensors)[:3]) or "no tensor at all"
        raise AdapterError(f"The file holds no lora_A and lora_B; it holds {first}. It is no LoRA adapter of PEFT.")
    return found


def pair_of(module: str, parts: Parts, names: tuple[str, str] = PAIR) -> tuple[Tensor, Tensor]:
    """Return A and B of a module; ``AdapterError`` where one is missing."""
    missing = [part for part in names if part not in parts]
    if missing:
        raise AdapterError(f"{module} has no {missing[0]} in this file: a factor without its partner says nothing.")
    return parts[names[0]], parts[names[1]]


def told_shapes(A: Tensor, B: Tensor, names: tuple[str, str] = PAIR) -> str:
    """Return the shapes of both factors as a clause."""
    return f"{names[0]} has shape {list(A.shape)} and {names[1]} {list(B.shape)}"


def _matrix(module: str, parts: Parts, config: dict[str, Any] | None, kind: str) -> Entry:
    A, B = pair_of(module, parts)
    settings = config or {}
    changes: dict[str, Any] = {}
    if len(A.shape) < 2 or len(A.shape) != len(B.shape) or any(size != 1 for size in B.shape[2:]):
        refuse_shapes(module, told_shapes(A, B))
    ranks, shape = (A.shape[0], B.shape[1]), (B.shape[0], math.prod(A.shape[1:]))
    convolution = len(A.shape) > 2
    if settings.get("use_bdlora"):
        side, blocks = _blocks(module, settings["use_bdlora"])
        if side == "A":
            shape = (shape[0], shape[1] * blocks)
            _check_blocks(module, A.shape[0], blocks)
            changes["change_A"] = partial(block_diagonal, blocks=blocks)
        elif side == "B":
            ranks = (ranks[0], ranks[1] * blocks)
            _check_blocks(module, B.shape[0], blocks)
            changes["change_B"] = partial(block_diagonal, blocks=blocks)
    elif settings.get("use_qalora"):
        group = qalora_group(settings)
        shape = (shape[0], shape[1] * group)
        changes["change_A"] = partial(_pooled, group=group)
    elif convolution and ranks[1] and ranks[0] > ranks[1] and not ranks[0] % ranks[1]:
        # The base is a grouped convolution: B is grouped like it, and block-diagonal as a matrix.
        groups = ranks[0] // ranks[1]
        _check_blocks(module, B.shape[0], groups)
        ranks = (ranks[0], ranks[0])
        changes["change_B"] = partial(_grouped, groups=groups)
    check_product(module, ranks, shape, told_shapes(A, B))
    if changes and shape[1] > MOST_INPUTS:
        raise AdapterError(
            f"{module} would have {shape[1]:,} inputs by its configuration; at most {MOST_INPUTS:,} are read."
        )
    middle = _middle(module, parts, settings, ranks[0])
    scale = matrix_scale(config, kind, module, ranks[0])
    return Entry(
        module,
        low_rank(B, A, shape, ranks[0], middle=middle, **changes),
        scale,
        CONVOLUTION if convolution else LINEAR,
        A.shape[2:],
        configured_rank(config, kind, module),
        "lora_magnitude_vector" in parts,
    )


def _middle(module: str, parts: Parts, settings: Mapping[str, Any], rank: int) -> Tensor | None:
    """Return the diagonal between B and A: λ of AdaLoRA, or that of KaSA."""
    E, diagonal = parts.get("lora_E"), parts.get("lora_diag")
    if E is not None and E.shape != (rank, 1):
        raise AdapterError(f"{module}: lora_E has shape {list(E.shape)}, not [{rank}, 1] as lora_A asks for.")
    if diagonal is not None and diagonal.shape != (rank,):
        raise AdapterError(f"{module}: lora_diag has shape {list(diagonal.shape)}, not [{rank}] as lora_A asks for.")
    if settings.get("kasa_config") and diagonal is None:
        raise AdapterError(
            f"{module} has no lora_diag in this file, though kasa_config is set: without it ΔW is unknown."
        )
    return E or diagonal


def _embedding(module: str, parts: Parts, config: dict[str, Any] | None, kind: str) -> Entry:
    """ΔW of an embedding as a map from the vocabulary: PEFT stores its transpose."""
    names = ("lora_embedding_A", "lora_embedding_B")
    A, B = pair_of(module, parts, names)
    if not len(A.shape) == len(B.shape) == 2:
        refuse_shapes(module, told_shapes(A, B, names))
    shape = B.shape[0], A.shape[1]
    check_product(module, (A.shape[0], B.shape[1]), shape, told_shapes(A, B, names))
    rank = A.shape[0]
    scale = matrix_scale(config, kind, module, rank)
    asked, magnitude = configured_rank(config, kind, module), "lora_magnitude_vector" in parts
    return Entry(module, low_rank(B, A, shape, rank), scale, EMBEDDING, (), asked, magnitude)


def _blocks(module: str, settings: Any) -> tuple[str | None, int]:
    """Return which factor of a module BD-LoRA stores as blocks, and how many."""
    if not isinstance(settings, dict) or not isinstance(blocks := settings.get("nblocks", 1), int) or blocks < 1:
        raise AdapterError("use_bdlora does not say how many blocks (nblocks) the factors have: ΔW is unknown.")
    last = module.rpartition(".")[2]
    sides = [
        side
        for side, key in (("A", "target_modules_bd_a"), ("B", "target_modules_bd_b"))
        if any(str(pattern) in last for pattern in settings.get(key) or [])
    ]
    if len(sides) > 1:
        raise AdapterError(f"use_bdlora names {module} for both factors: one of them is block-diagonal, not both.")
    return (sides[0] if sides else None), blocks


def _check_blocks(module: str, rows: int, blocks: int) -> None:
    if rows % blocks:
        raise AdapterError(f"{module}: {rows} rows cannot be {blocks} blocks of equal height.")


def _pooled(A: np.ndarray, group: int) -> np.ndarray:
    """Return A as it acts on every input: QALoRA averages groups of inputs and multiplies by their number."""
    return np.repeat(A, group, axis=1) * (A.shape[1] / group)


def _grouped(B: np.ndarray, groups: int) -> np.ndarray:
    return block_diagonal(B.reshape(B.shape[0], -1), groups)


def _is_lora(opened: Opened) -> bool:
    if opened.config is not None and "peft_type" in opened.config:
        return opened.config["peft_type"] in KINDS
    return any(
        f".{part}" in name or name.startswith(part)
        for name in opened.tensors
        for part in ("lora_A.", "lora_embedding_A")
    )


def _read(opened: Opened) -> Contents:
    if opened.config is not None and "peft_type" in opened.config:
        return read_lora(opened, str(opened.config["peft_type"]))
    return read_lora(opened, "ADALORA" if any(".lora_E" in name for name in opened.tensors) else "LORA")


PEFT = Format(
    "peft",
    "PEFT",
    "`adapter_config.json` with `adapter_model.safetensors`, or the latter alone (scale taken as 1)",
    "LoRA (rsLoRA, patterns, DoRA's s · B A, KaSA, BD-LoRA, QALoRA, aLoRA, MonteCLoRA, any init) and AdaLoRA, of "
    "linear layers, convolutions, embeddings and expert parameters",
    "heads, biases, retrained tokens, magnitudes of DoRA",
    _is_lora,
    _read,
    PEFT_WRITER,
)
