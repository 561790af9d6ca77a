"""Files of diffusers: dotted names below the part of the pipeline, the configuration in the safetensors header."""

from __future__ import annotations

import json
from typing import Any

from analysis.adapters.files import AdapterError
from analysis.adapters.formats.kohya import read_pairs
from analysis.adapters.formats.module_paths import DOTTED
from analysis.adapters.formats.peft_keys import check_keys
from analysis.adapters.formats.record import Contents, Format, Opened
from analysis.adapters.scales import matrix_scale

METADATA = "lora_adapter_metadata"
_MARKS = (".lora.down.weight", ".lora.up.weight", "_lora.down.weight", ".lora_linear_layer.down.weight")
_STARTS = tuple(start for start in DOTTED if start != "base_model.model.")


def _is_diffusers(opened: Opened) -> bool:
    if opened.config is not None:
        return False
    names = opened.tensors
    return (
        METADATA in opened.file.metadata
        or any(name.endswith(_MARKS) or "_lora1.down" in name for name in names)
        or any(name.startswith(_STARTS) and (".lora_A." in name or ".lora_B." in name) for name in names)
    )


def _read(opened: Opened) -> Contents:
    settings = _settings(opened)
    for own in settings.values():
        check_keys("LORA", own)

    def scale(name: str, rank: int) -> float | None:
        component = next((part for part in sorted(settings, key=len, reverse=True) if name.startswith(f"{part}.")), "")
        own = settings.get(component)
        if not own or not rank:
            return None
        path = name.removeprefix(f"{component}.") if component else name
        return matrix_scale(own, "LORA", path, rank)

    told = "" if settings else "taken as r, so s = 1, as diffusers does."
    contents = read_pairs(opened, told, scale)
    for own in settings.values():
        if own.get("use_dora") and not any("DoRA" in line for line in contents.notices):
            contents.notices.append(
                "Weight-decomposed (DoRA): what is shown is s · B A; the magnitudes need the base model."
            )
    if any(own.get("use_rslora") for own in settings.values()):
        contents.label = contents.label.replace("LoRA", "rsLoRA")
    return contents


def _settings(opened: Opened) -> dict[str, dict[str, Any]]:
    """Return part of the pipeline ("" = the only one) → its LoRA configuration, as the header holds it."""
    text = opened.file.metadata.get(METADATA)
    if text is None:
        return {}
    try:
        found = json.loads(text)
        items = found.items()
    except (ValueError, AttributeError, RecursionError) as error:
        raise AdapterError(f"{METADATA} in the header of this file is no JSON object: the scale is unknown.") from error
    parts: dict[str, dict[str, Any]] = {}
    for key, value in items:
        start = next((start for start in sorted(_STARTS, key=len, reverse=True) if key.startswith(start)), "")
        parts.setdefault(start.rstrip("."), {})[key.removeprefix(start)] = value
    return parts


DIFFUSERS = Format(
    "diffusers",
    "diffusers",
    "`pytorch_lora_weights.safetensors`: `unet.…`, `transformer.…`, `text_encoder.…`",
    "`lora.down` and `lora.up`, `lora_A` and `lora_B`, with r and alpha from `lora_adapter_metadata` or `.alpha`",
    "magnitudes of DoRA",
    _is_diffusers,
    _read,
)
