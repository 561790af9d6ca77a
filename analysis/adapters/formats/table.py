"""The table of the formats, and which of them a file is in."""

from __future__ import annotations

from analysis.adapters.files import AdapterError
from analysis.adapters.formats.diffusers import DIFFUSERS
from analysis.adapters.formats.format import Format
from analysis.adapters.formats.gguf import GGUF
from analysis.adapters.formats.kohya import KOHYA
from analysis.adapters.formats.lycoris import LYCORIS_OF_PEFT
from analysis.adapters.formats.mlx import MLX
from analysis.adapters.formats.others import check_peft_type
from analysis.adapters.formats.peft import PEFT
from analysis.adapters.formats.record import Contents, Opened

FORMATS: tuple[Format, ...] = (LYCORIS_OF_PEFT, DIFFUSERS, KOHYA, GGUF, MLX, PEFT)
"""In the order in which they are asked; the first that knows a file reads it."""


def read_contents(opened: Opened) -> tuple[str, Contents]:
    """Return the key of a file's format, and its contents.

    Raises:
        AdapterError: no format knows it, or what its own format refuses.
    """
    if opened.config is not None and "peft_type" in opened.config:
        check_peft_type(opened.config)
    for own in FORMATS:
        if own.detect(opened):
            return own.key, own.read(opened)
    first = ", ".join(list(opened.tensors)[:3]) or "no tensor at all"
    raise AdapterError(
        f"The file holds no lora_A and lora_B; it holds {first}. It is no LoRA adapter that is known here."
    )
