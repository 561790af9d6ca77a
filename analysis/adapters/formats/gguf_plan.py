"""Why GGUF is not written, and what such an adapter would take as PEFT stores it."""

from __future__ import annotations

from typing import NoReturn

from analysis.adapters.adapter import Adapter
from analysis.adapters.files import AdapterError
from analysis.adapters.formats.format import Writer
from analysis.adapters.formats.peft_plan import plan_peft
from analysis.adapters.formats.plan import Ranks


def refuse_gguf(adapter: Adapter, ranks: Ranks) -> NoReturn:
    """Raise ``AdapterError``: only llama.cpp's converter makes such files."""
    raise AdapterError(
        "GGUF is not written: its names, order of rows and head are made by llama.cpp's converter for one architecture "
        "each. Shrink the PEFT adapter that it was made of, to one rank (the converter knows one alpha), and convert "
        "that with convert_lora_to_gguf.py."
    )


GGUF_WRITER = Writer("nothing: llama.cpp's converter makes such files of PEFT's", plan_peft, refuse_gguf)
