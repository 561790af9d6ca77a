"""``Brief``: records that hold whole arrays are shown in a line: what each field is, not what is in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

LONGEST = 60
"""Characters of a field that is shown as it is."""


class Brief:
    """Base of dataclasses (``repr=False``) whose fields are large."""

    def __repr__(self) -> str:
        held: Any = self
        told = [f"{item.name}={_shown(getattr(self, item.name))}" for item in fields(held) if item.repr]
        return f"{type(self).__name__}({', '.join(told)})"


def _shown(value: Any) -> str:
    """Return a value in a few words: type and shape of an array, how many entries others have."""
    if isinstance(value, np.ndarray):
        return f"<{value.dtype} {value.shape}>"
    if isinstance(value, Path):
        return repr(str(value))
    if isinstance(value, Mapping | list | tuple | set) and value and not hasattr(value, "_fields"):
        return f"<{type(value).__name__} of {len(value):,}>"
    # What is inside of a record is its own business.
    text = f"<{type(value).__name__}>" if is_dataclass(value) or hasattr(value, "_fields") else repr(value)
    return text if len(text) <= LONGEST else f"<{type(value).__name__}>"
