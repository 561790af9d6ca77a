"""An adapter of the Hugging Face hub by its name; huggingface_hub is imported when one is asked for, never before."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from analysis.adapters.files import AdapterError
from analysis.outside import first_line

PATTERNS = (
    "adapter_config.json",
    "adapter_model*.safetensors*",
    "adapters.safetensors",
    "pytorch_lora_weights.safetensors",
)
"""What is fetched of a repository where it is there; else its only safetensors or GGUF file."""
MAX_BYTES = 4 << 30

_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[\w.-]{1,95}")


def is_name(path: str | Path) -> bool:
    """Return whether a path is written like ``owner/name`` of the hub."""
    return isinstance(path, str) and _NAME.fullmatch(path) is not None and not path.endswith((".safetensors", ".zip"))


def fetch(name: str) -> Path:
    """Return the folder of the hub's cache that holds the adapter's files, fetched where they are not there yet.

    Raises:
        AdapterError: huggingface_hub is missing, there is no network, no such repository, or no adapter in it.
    """
    here = f"{name} is no path here"
    try:
        import huggingface_hub
    except ModuleNotFoundError as error:
        raise AdapterError(f"{here}; to fetch it from the hub: pip install huggingface_hub.") from error
    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
    try:
        if offline:
            return Path(huggingface_hub.snapshot_download(name, local_files_only=True))
        wanted = _wanted(name, huggingface_hub.HfApi().model_info(name, files_metadata=True).siblings or [])
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=wanted))
    except AdapterError:
        raise
    except Exception as error:  # the client raises those of its HTTP library, too
        why = "it is not in the hub's cache, and HF_HUB_OFFLINE is set" if offline else first_line(error)
        raise AdapterError(f"{here}, and cannot be fetched from the hub: {why}.") from error


def _wanted(name: str, files: list[Any]) -> list[str]:
    """Return the files that are an adapter, at most ``MAX_BYTES`` of them."""
    import fnmatch

    sizes = {file.rfilename: file.size or 0 for file in files}
    wanted = [file for file in sizes if any(fnmatch.fnmatchcase(file, pattern) for pattern in PATTERNS)]
    if not any("safetensors" in file for file in wanted):
        loose = [file for file in sizes if file.endswith((".safetensors", ".gguf")) and "/" not in file]
        if len(loose) != 1:
            held = ", ".join(list(sizes)[:6]) or "nothing"
            raise AdapterError(f"{name} on the hub holds no adapter that can be told from its names; it holds {held}.")
        wanted += loose
    if (size := sum(sizes[file] for file in wanted)) > MAX_BYTES:
        raise AdapterError(
            f"{name} on the hub has {size >> 20:,} MiB of weights; at most {MAX_BYTES >> 20:,} are fetched."
        )
    return wanted
