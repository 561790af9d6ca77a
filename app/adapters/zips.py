"""A folder as a zip in memory."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

MOST_NAMED = 3
"""Parts of a merge that its file is named after."""


def smaller_name(label: str, ranks: Mapping[str, int], size: int, dtype: str | None = None) -> str:
    """Return what to call a smaller adapter: by its rank where all have one, else by its size in bytes."""
    told = {rank for rank in ranks.values() if rank}
    by = f"r{told.pop()}" if len(told) == 1 else f"{size / 1e3:.0f}kB"
    return "-".join([label.removesuffix(".safetensors"), by, *([dtype.lower()] if dtype else [])])


def merged_name(names: Sequence[str], how: str) -> str:
    """Return what to call a merge: "faq-jokes-linear", or "faq-and-4-others-ties"."""
    parts = names if len(names) <= MOST_NAMED else [names[0], f"and-{len(names) - 1}-others"]
    return "-".join(re.sub(r"[^\w.]+", "-", part.removesuffix(".safetensors")).strip("-") for part in (*parts, how))


def zipped(folder: Path) -> bytes:
    """Return the files of a folder as a zip."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, file.name)
    return buffer.getvalue()
