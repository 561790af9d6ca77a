"""The factor s of ΔW = s · B A, as PEFT computes it from a configuration."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from analysis.adapters.files import AdapterError, number
from analysis.adapters.patterns import pattern_key

ADALORA_EPSILON = 1e-5
"""PEFT adds it to the rank by which AdaLoRA's alpha is divided."""


def matrix_scale(config: Mapping[str, Any] | None, kind: str, module: str, rank: int) -> float:
    """Return s for one matrix; 1 without a configuration, and where there is no direction.

    LoRA: alpha / r, or alpha / √r with ``use_rslora``, both by the patterns. AdaLoRA: alpha / init_r, also after its
    masks have been cut out (PEFT keeps that divisor). ``rank`` is that of the stored factors: it divides alpha where
    the configuration names another one. The module is named without PEFT's prefix.

    Raises:
        AdapterError: alpha or a pattern is no number, or init_r is not above 0.
    """
    if config is None or not rank:
        return 1.0
    config = dict(config)
    if kind == "ADALORA":
        initial = number(config, "init_r", 12)
        if initial <= 0:
            raise AdapterError(
                f"The configuration has init_r={initial:g}; AdaLoRA divides alpha by it: above 0 is needed."
            )
        alpha = number(config, "lora_alpha", 8)
        return (alpha if alpha > 0 else initial) / (initial + ADALORA_EPSILON)
    alpha = pattern_number(config, "alpha_pattern", module, "lora_alpha", 8)
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def pattern_number(config: Mapping[str, Any], patterns: str, module: str, key: str, default: float) -> float:
    """Return what a configuration says of one module: by its first pattern that fits, else ``key``, else the default.

    Raises:
        AdapterError: it is no number, or a pattern is none.
    """
    found = _pattern(config, patterns)
    own = pattern_key(found, module)
    return number(dict(config), key, default) if own is None else number(found, own)


def configured_rank(config: Mapping[str, Any] | None, kind: str, module: str) -> int | None:
    """Return the rank that a LoRA configuration asks for; None where it says nothing."""
    if config is None or kind != "LORA":
        return None
    patterns = _pattern(config, "rank_pattern")
    key = pattern_key(patterns, module)
    found = config.get("r") if key is None else patterns[key]
    return found if isinstance(found, int) else None


def _pattern(config: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = config.get(key) or {}
    if not isinstance(found, dict):
        raise AdapterError(f"{key} is {type(found).__name__}; a mapping from module names to numbers is needed.")
    return found
