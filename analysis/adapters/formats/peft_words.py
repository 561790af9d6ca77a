"""What is said of a LoRA of PEFT: its name, and what to know before believing its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.adapters.files import Tensor
from analysis.adapters.formats.record import Opened

RELATIVE = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""Initialisations that also change the frozen weights, so that ΔW is not counted from the pretrained ones."""
PLAIN_STARTS = ("", "true", "false", "gaussian", "eva", "orthogonal", "mica", "none")
"""Initialisations that leave them as they are."""


def start_of(config: Mapping[str, Any] | None) -> str:
    """Return ``init_lora_weights`` in lower case; empty where nothing is said."""
    return str((config or {}).get("init_lora_weights", "")).lower()


def is_relative(config: Mapping[str, Any] | None) -> bool:
    """True where the start changed the frozen weights too: s · B A is not the whole change."""
    return start_of(config).startswith(RELATIVE) or bool((config or {}).get("kasa_config"))


def lora_label(kind: str, config: Mapping[str, Any] | None) -> str:
    """Return the method's name as people say it."""
    settings = config or {}
    if kind == "ADALORA":
        return "AdaLoRA"
    words = [
        name
        for key, name in (
            ("kasa_config", "KaSA"),
            ("use_bdlora", "BD-LoRA"),
            ("use_qalora", "QALoRA"),
            ("monteclora_config", "MonteCLoRA"),
            ("alora_invocation_tokens", "activated (aLoRA)"),
            ("use_dora", "weight-decomposed (DoRA)"),
        )
        if settings.get(key)
    ]
    named = any(settings.get(key) for key in ("kasa_config", "use_bdlora", "use_qalora", "monteclora_config"))
    scaled = ["rsLoRA"] if settings.get("use_rslora") else []
    return " ".join([*words, *(scaled or ([] if named else ["LoRA"]))])


def lora_notices(
    config: Mapping[str, Any] | None, opened: Opened, modules: Mapping[str, Mapping[str, Tensor]]
) -> list[str]:
    """Return what to know before believing the numbers, one line each."""
    found = []
    settings = config or {}
    if config is None:
        found.append("No adapter_config.json: the scale alpha / r is unknown and taken as 1. Only norms depend on it.")
    decomposed = sum("lora_magnitude_vector" in parts for parts in modules.values())
    if decomposed:
        found.append(
            f"Weight-decomposed (DoRA) in {decomposed} matrices: what is shown is s · B A. The learned magnitudes "
            "rescale the rows of W0 + s · B A and need the base model."
        )
    start = start_of(config)
    if start.startswith(RELATIVE):
        found.append(
            f"Initialised by {start}, which changes the frozen weights too: s · B A is not the change from the "
            "pretrained ones unless the adapter was converted when it was saved."
        )
    elif start not in PLAIN_STARTS:
        found.append(
            f"Initialised by {start!r}, which this version does not know: if it changes the frozen weights too, "
            "s · B A is not the change from the pretrained ones."
        )
    if settings.get("kasa_config"):
        found.append(
            "KaSA also removed the smallest singular components of every frozen weight: what is shown is "
            "s · B diag(d) A, not the change from the pretrained weights."
        )
    if settings.get("monteclora_config"):
        found.append("MonteCLoRA: what is shown is s · B A as it is used after training, without the sampled noise.")
    if settings.get("alora_invocation_tokens"):
        found.append("Activated LoRA: ΔW acts only on tokens from the invocation sequence on.")
    if settings.get("layer_replication"):
        found.append("layer_replication: layers are numbered as in the enlarged model, not as in the base model.")
    if tokens := [name for name in opened.tensors if "trainable_tokens_delta" in name]:
        found.append(
            f"Tokens of {len(tokens)} embeddings were retrained beside ΔW: their new rows are not in the numbers."
        )
    if biases := [name for name in opened.tensors if ".lora_" in name and name.endswith(".bias")]:
        found.append(f"lora_bias: {len(biases)} layers also learned a bias, which is not in the numbers.")
    return found
