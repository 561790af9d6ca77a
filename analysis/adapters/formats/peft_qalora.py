"""QALoRA: PEFT averages groups of inputs in GPTQ layers only; in any other it ignores the key and trains plain LoRA."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.adapters.files import CONFIG, AdapterError, Tensor
from analysis.outside import shown

MOST_INPUTS = 1 << 20
"""A configuration may say more than a file holds; no layer has so many."""


def qalora_group(config: Mapping[str, Any]) -> int:
    """Return how many inputs are averaged; ``AdapterError`` where that is no number above 0."""
    group = config.get("qalora_group_size", 16)
    if isinstance(group, bool) or not isinstance(group, int) or not 0 < group <= MOST_INPUTS:
        raise AdapterError(f"qalora_group_size is {shown(group)}; a whole number above 0 is needed.")
    return group


def acts_on_groups(config: Mapping[str, Any], modules: Mapping[str, Mapping[str, Tensor]]) -> tuple[bool, str]:
    """Return whether A acts on averages of groups, where a configuration asks for it, and what tells so.

    The file says only how wide A is: that is all inputs, or a group's share of them. Outputs of one matrix are inputs
    of another, so a width that is one of the numbers of outputs tells, unless both widths are. Where no matrix tells,
    the base model's name may.

    Raises:
        AdapterError: nothing tells, or matrices contradict one another: ΔW is unknown.
    """
    group = qalora_group(config)
    pairs = [
        (parts["lora_A"].shape, parts["lora_B"].shape)
        for parts in modules.values()
        if "lora_A" in parts and "lora_B" in parts
    ]
    outputs = {B[0] for _, B in pairs if B}
    told: dict[bool, int] = {}
    for width in (A[1] for A, _ in pairs if len(A) > 1):
        plain, grouped = width in outputs, width * group in outputs
        if plain != grouped:
            told.setdefault(grouped, width)
    if len(told) == 1:
        grouped, width = told.popitem()
        return grouped, (
            f"use_qalora: A is {width} wide and other matrices have {width * group} outputs, {group} times as many, as "
            "in GPTQ layers, so A acts on averages of their inputs."
            if grouped
            else f"use_qalora is set, but A is {width} wide like the outputs of other matrices: the base was not in "
            "GPTQ, so PEFT trained a plain LoRA."
        )
    if not told and "gptq" in str(config.get("base_model_name_or_path")).lower():
        return True, "use_qalora: by the name of its base model, in GPTQ, A acts on averages of inputs."
    raise AdapterError(
        f"use_qalora is set, and nothing tells whether A acts on averages of {group} inputs (a base model in GPTQ) or "
        f"on each (any other, where PEFT trains a plain LoRA). In a copy of {CONFIG} take use_qalora out for the "
        "latter, or name the base in base_model_name_or_path with GPTQ for the former."
    )
