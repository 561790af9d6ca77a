"""The layout of a payload: a JSON header and typed arrays; app/player/model/decode.js reads it.

uint32 little-endian length of the header, the header, zeros up to a multiple of 8, then the arrays, each at a multiple
of 8 from there.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

VERSION = 2

_DTYPES = {"uint8": "u8", "uint16": "u16", "uint32": "u32", "int32": "i32", "float32": "f32"}


def pack(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return the bytes of a header and its arrays, which may be uint8, uint16, uint32, int32 or float32."""
    offset, parts, places = 0, [], []
    for name, array in arrays.items():
        places.append(
            {
                "name": name,
                "dtype": _DTYPES[array.dtype.name],
                "offset": offset,
                "length": array.size,
                "shape": array.shape,
            }
        )
        data = array.tobytes()
        parts.append(data + bytes(-len(data) % 8))
        offset += len(parts[-1])
    text = as_json({"version": VERSION, **header, "arrays": places})
    start = struct.pack("<I", len(text)) + text
    return b"".join([start, bytes(-len(start) % 8), *parts])


def as_json(value: Any) -> bytes:
    """Return the shortest JSON of a header; numbers of numpy are allowed, others than finite ones are not."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"), default=_plain).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no place in a payload")


def read_header(payload: bytes) -> tuple[dict[str, Any], int]:
    """Return the header and where the arrays begin."""
    (length,) = struct.unpack_from("<I", payload)
    return json.loads(payload[4 : 4 + length]), -(-(4 + length) // 8) * 8


def read_array(payload: bytes, name: str) -> np.ndarray:
    """Return one array of a payload, flat.

    Raises:
        KeyError: it has none of this name.
    """
    header, start = read_header(payload)
    kinds = {short: long for long, short in _DTYPES.items()}
    for item in header["arrays"]:
        if item["name"] == name:
            return np.frombuffer(payload, kinds[item["dtype"]], item["length"], start + item["offset"])
    raise KeyError(name)
