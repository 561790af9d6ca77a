"""Files of diffusers: dotted names below the part of the pipeline, the configuration in the safetensors header."""

from __future__ import annotations

from analysis.adapters.formats.diffusers_header import METADATA, STARTS, header_settings, own_settings
from analysis.adapters.formats.diffusers_plan import DIFFUSERS_WRITER
from analysis.adapters.formats.format import Format
from analysis.adapters.formats.kohya import read_pairs
from analysis.adapters.formats.peft_keys import check_keys
from analysis.adapters.formats.record import Contents, Opened
from analysis.adapters.scales import matrix_scale

_MARKS = (".lora.down.weight", ".lora.up.weight", "_lora.down.weight", ".lora_linear_layer.down.weight")


def _is_diffusers(opened: Opened) -> bool:
    if opened.config is not None:
        return False
    names = opened.tensors
    return (
        METADATA in opened.file.metadata
        or any(name.endswith(_MARKS) or "_lora1.down" in name for name in names)
        or any(name.startswith(STARTS) and (".lora_A." in name or ".lora_B." in name) for name in names)
    )


def _read(opened: Opened) -> Contents:
    settings = header_settings(opened.file.metadata)
    for own in settings.values():
        check_keys("LORA", own)

    unsaid: list[str] = []

    def scale(name: str, rank: int) -> float | None:
        component, path = own_settings(settings, name)
        own = settings.get(component)
        if settings and not own:
            unsaid.append(name)
        if not own or not rank:
            return None
        return matrix_scale(own, "LORA", path, rank)

    told = "" if settings else "taken as r, so s = 1, as diffusers does."
    contents = read_pairs(opened, told, scale)
    if unsaid:
        contents.notices.append(
            f"{METADATA} in the header says nothing of {unsaid[0]}"
            f"{f' and {len(unsaid) - 1} more' if len(unsaid) > 1 else ''}: s is taken as 1 there."
        )
    for own in settings.values():
        if own.get("use_dora") and not any("DoRA" in line for line in contents.notices):
            contents.notices.append(
                "Weight-decomposed (DoRA): what is shown is s · B A; the magnitudes need the base model."
            )
    if any(own.get("use_rslora") for own in settings.values()):
        contents.label = contents.label.replace("LoRA", "rsLoRA")
    return contents


DIFFUSERS = Format(
    "diffusers",
    "diffusers",
    "`pytorch_lora_weights.safetensors`: `unet.…`, `transformer.…`, `text_encoder.…`",
    "`lora.down` and `lora.up`, `lora_A` and `lora_B`, with r and alpha from `lora_adapter_metadata` or `.alpha`",
    "magnitudes of DoRA",
    _is_diffusers,
    _read,
    DIFFUSERS_WRITER,
)
