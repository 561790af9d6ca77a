"""A payload read without the code under test."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np

KINDS = {"u8": "<u1", "u16": "<u2", "u32": "<u4", "i32": "<i4", "f32": "<f4"}


def decode(payload: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Header, and name → flat array."""
    (length,) = struct.unpack_from("<I", payload)
    header = json.loads(payload[4 : 4 + length])
    place, arrays = -(-(4 + length) // 8) * 8, {}
    for name, kind, size, _ in header["arrays"]:
        assert place % 8 == 0
        arrays[name] = np.frombuffer(payload, KINDS[kind], size, place)
        place += -(-arrays[name].nbytes // 8) * 8
    assert place == len(payload)
    return header, arrays
