"""Adapters of PEFT that are named and not read, and why: their ΔW needs more than their files, or there is none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.adapters.files import AdapterError
from analysis.outside import shown

READ = ("LORA", "ADALORA", "LOHA", "LOKR")
"""Values of ``peft_type`` whose ΔW is in the file."""

_INPUTS = "it trains what is put before the input, not weights: there is no ΔW"
_BASE = "its ΔW is a function of the base weights, which the file does not hold"
_SEED = "its ΔW needs matrices that are drawn anew from a seed, or from the base model, and are not in the file"
_ROUTED = "it mixes its factors anew for each input: there is no one ΔW"
_OTHER = "its ΔW is of a form that this version does not compute"

REASONS: dict[str, str] = {
    **dict.fromkeys(
        (
            "PROMPT_TUNING",
            "MULTITASK_PROMPT_TUNING",
            "P_TUNING",
            "PREFIX_TUNING",
            "CPT",
            "CARTRIDGE",
            "ADAPTION_PROMPT",
        ),
        _INPUTS,
    ),
    **dict.fromkeys(("OFT", "BOFT", "HRA", "ROAD", "OSF", "PSOFT", "HIRA", "DEFT", "FROD", "PEANUT", "GLORA"), _BASE),
    "IA3": "it multiplies activations: ΔW = diag(l) W0 is a function of the base weights, which the file does not hold",
    "VERA": "its A and B are shared, random, and cut to the inputs of each layer: how many those are only the "
    "base model tells, also where vera_A and vera_B are in the file and need not be drawn from their seed",
    **dict.fromkeys(("PVERA", "RANDLORA", "UNILORA", "TINYLORA", "FOURIERFT", "WAVEFT", "ADAMSS"), _SEED),
    **dict.fromkeys(("POLY", "XLORA", "LILY"), _ROUTED),
    **dict.fromkeys(("C3A", "SHIRA", "GRALORA", "DELORA", "SUPERTUNING", "MISS", "BONE", "VBLORA"), _OTHER),
    **dict.fromkeys(("LN_TUNING", "BEFT"), "it trains norms or biases, no weight matrix: there is no ΔW to decompose"),
    "TRAINABLE_TOKENS": "it retrains rows of the embedding: what they were before only the base model tells",
    "SHADOW": "it is a model of its own beside the base: there is no ΔW",
}
"""``peft_type`` → why it is not read."""


def check_peft_type(config: Mapping[str, Any]) -> str:
    """Return ``peft_type`` where it is one of ``READ``.

    Raises:
        AdapterError: another one; the line says why.
    """
    kind = config.get("peft_type")
    if kind in READ:
        return str(kind)
    known = REASONS.get(kind) if isinstance(kind, str) else None
    why = known or "this version does not know it, and its numbers would be a guess"
    raise AdapterError(
        f"This is an adapter of peft_type {shown(kind)}: {why}. Of PEFT's kinds {', '.join(READ[:-1])} and {READ[-1]} "
        "can be opened."
    )
