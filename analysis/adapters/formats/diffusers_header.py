"""What diffusers writes into the safetensors header: the LoRA configuration of each part of a pipeline."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from analysis.adapters.files import AdapterError
from analysis.adapters.formats.module_paths import DOTTED, component_of

METADATA = "lora_adapter_metadata"
STARTS = tuple(start for start in DOTTED if start != "base_model.model.")


def header_settings(metadata: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return part of the pipeline ("" = the only one) → its LoRA configuration, as the header holds it.

    Raises:
        AdapterError: what stands there is no JSON object.
    """
    text = metadata.get(METADATA)
    if text is None:
        return {}
    try:
        found = json.loads(text)
        items = found.items()
    except (ValueError, AttributeError, RecursionError) as error:
        raise AdapterError(f"{METADATA} in the header of this file is no JSON object: the scale is unknown.") from error
    parts: dict[str, dict[str, Any]] = {}
    for key, value in items:
        start = next((start for start in sorted(STARTS, key=len, reverse=True) if key.startswith(start)), "")
        parts.setdefault(start.rstrip("."), {})[key.removeprefix(start)] = value
    return parts


def own_settings(settings: Mapping[str, Any], name: str) -> tuple[str, str]:
    """Return the part whose settings are those of a module, and the module's name within it.

    Where the header has one part, its modules may stand in the file without its name.
    """
    component = next((part for part in sorted(settings, key=len, reverse=True) if name.startswith(f"{part}.")), "")
    if not component and len(settings) == 1 and not component_of(name)[0]:
        return next(iter(settings)), name
    return component, name.removeprefix(f"{component}.") if component else name
