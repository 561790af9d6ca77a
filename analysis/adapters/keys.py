"""What the tensors of an adapter file are, by their names: matrices, what is carried along, what is left aside."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from analysis.adapters.files import AdapterError, Tensor

PREFIX = "base_model.model."
"""PEFT puts it before every module name."""

KINDS = ("LORA", "ADALORA")
"""Values of ``peft_type`` that hold ΔW = s · B A for each matrix."""

_FACTOR = re.compile(
    r"^(?P<module>.+?)\.(?P<part>lora_(?:A|B|E|embedding_A|embedding_B|magnitude_vector))"
    r"(?:\.(?P<adapter>(?!(?:weight|bias)$)[^.]+))?(?:\.(?P<leaf>weight|bias))?$"
)
_COPIES = ("modules_to_save", "original_module")


@dataclass
class Contents:
    """The tensors of a file, sorted.

    Attributes:
        factors: module → part (``lora_A``, ``lora_B``, ``lora_E``, ``lora_magnitude_vector``) → tensor.
        carried: tensors beside the matrices: heads, biases, magnitudes, base layers.
        skipped: module or tensor → why it is not analysed.
    """

    factors: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    carried: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)


def check_kind(config: Mapping[str, Any] | None, tensors: Mapping[str, Tensor]) -> str:
    """Return ``LORA`` or ``ADALORA``.

    Raises:
        AdapterError: another kind of adapter.
    """
    if config is None:
        return "ADALORA" if any(".lora_E" in name for name in tensors) else "LORA"
    kind = config.get("peft_type")
    if kind not in KINDS:
        raise AdapterError(
            f"This is an adapter of peft_type {kind!r}: it holds no low-rank factors B and A. "
            f"Adapters of peft_type {' and '.join(KINDS)} can be opened."
        )
    return str(kind)


def sort_tensors(tensors: Mapping[str, Tensor], config: Mapping[str, Any] | None) -> Contents:
    """Sort the tensors of an adapter file.

    Raises:
        AdapterError: no factor in the file, a factor without its partner, several adapters, or shapes that do not fit.
    """
    found = Contents()
    names: set[str] = set()
    for name, tensor in tensors.items():
        match = _FACTOR.match(name.removeprefix(PREFIX))
        if match is None:
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
            found.factors.setdefault(module, {})[part] = tensor
    if len(names) > 1:
        told = ", ".join(sorted(name or "(unnamed)" for name in names))
        raise AdapterError(f"The file holds several adapters: {told}. Save each into a folder of its own.")
    _leave_aside(found, _parameter_modules(config))
    _check_pairs(found.factors)
    if not found.factors and not found.skipped:
        first = ", ".join(list(tensors)[:3]) or "no tensor at all"
        raise AdapterError(f"The file holds no lora_A and lora_B; it holds {first}. It is no LoRA adapter of PEFT.")
    return found


def copy_word(module: str) -> str | None:
    """Return which part of a name says that PEFT keeps a second copy of the factors there, or None."""
    return next((word for word in module.split(".") if word in _COPIES), None)


def _leave_aside(found: Contents, owners: Sequence[str]) -> None:
    """Move what is no linear layer from ``factors`` to ``skipped``."""
    for module, parts in list(found.factors.items()):
        bare = module.replace(".base_layer", "")
        if any(part.startswith("lora_embedding") for part in parts):
            reason = "an embedding"
        elif any(len(parts[part].shape) > 2 for part in ("lora_A", "lora_B") if part in parts):
            reason = "a convolution"
        elif any(bare == owner or bare.endswith(f".{owner}") for owner in owners):
            reason = "parameters of several experts in one pair of factors"
        else:
            continue
        del found.factors[module]
        found.skipped[module] = reason


def _parameter_modules(config: Mapping[str, Any] | None) -> list[str]:
    targets = (config or {}).get("target_parameters") or []
    return [str(target).rpartition(".")[0] or str(target) for target in targets] if isinstance(targets, list) else []


def _check_pairs(factors: Mapping[str, Mapping[str, Tensor]]) -> None:
    for module, parts in factors.items():
        missing = [part for part in ("lora_A", "lora_B") if part not in parts]
        if missing:
            raise AdapterError(f"{module} has no {missing[0]} in this file: a factor without its partner says nothing.")
        A, B = parts["lora_A"].shape, parts["lora_B"].shape
        if len(A) != 2 or len(B) != 2 or A[0] != B[1] or not A[1] or not B[0]:
            raise AdapterError(
                f"{module}: lora_A has shape {list(A)} and lora_B {list(B)}. "
                "They must be (r, in) and (out, r) with the same r, in and out above 0."
            )
        E = parts.get("lora_E")
        if E is not None and E.shape != (A[0], 1):
            raise AdapterError(f"{module}: lora_E has shape {list(E.shape)}, not [{A[0]}, 1] as lora_A asks for.")
