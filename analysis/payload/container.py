"""The layout of a payload, a JSON header and typed arrays, and what of it a reader lacks; container.js reads and joins.

uint32 little-endian length of the header, the header, zeros up to a multiple of 8, then the arrays, each at a multiple
of 8 from there.

Each item of the header and each array is of one of two kinds, which ``pack`` is told where the item is made:

- ``Rows(by, values)``: one row for each thing that ``by`` names: a record, an event, a move, a λ ... A run that goes on
  has more of them, and those it had stay. All items of the same ``by`` have equally many rows. A reader that has the
  first ones is sent the rest, and puts them behind its own.
- anything else is whole: sent again when it changed, and then it replaces what the reader has.

So a new number of each record is ``Rows("record", array)``, one of each event ``Rows("event", array)``, an order or a
sum over the run a plain array; nothing else has to be told anywhere.

The header's ``state`` tells which rows and which whole items a reader has, by checksums of them: ``increment`` trusts
nothing else. A run that was rewound, replaced or rewritten, or whose payload has another form by now, is sent anew.
"""

from __future__ import annotations

import base64
import binascii
import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

VERSION = 3

_DTYPES = {"uint8": "u8", "uint16": "u16", "uint32": "u32", "int32": "i32", "float32": "f32"}
_LONG = {short: long for long, short in _DTYPES.items()}


class Rows(NamedTuple):
    """What a run has more of as it goes on.

    Attributes:
        by: what each row is about: "record", "event", ...
        values: a list of JSON values, or an array whose first axis counts the rows.
    """

    by: str
    values: Any


class _Seen(NamedTuple):
    """What a reader has: rows by what they are about, and the checksum of each whole item, in order."""

    counts: dict[str, int]
    whole: list[int]


def pack(header: Mapping[str, Any], arrays: Mapping[str, Rows | np.ndarray]) -> bytes:
    """Return the bytes of a header and its arrays, which may be uint8, uint16, uint32, int32 or float32.

    Raises:
        ValueError: items of the same ``by`` differ in their number of rows.
    """
    counts = _counts((*header.values(), *arrays.values()))
    whole = [_checksum(item) for item in (*header.values(), *arrays.values()) if not isinstance(item, Rows)]
    return _written(header, arrays, {"state": _state(header, arrays, counts, whole), "counts": counts})


def increment(payload: bytes, state: str) -> bytes | None:
    """Return what a reader lacks.

    Args:
        payload: of ``pack``.
        state: from the header of what the reader got last, or of ``state_at``.

    Returns:
        A payload whose header has ``from``, the rows before its own; None when nothing is new; ``payload`` itself for a
        reader that cannot go on from what it has.
    """
    header, arrays = _opened(payload)
    told, _ = read_header(payload)
    seen = _seen(header, arrays, told["counts"], state)
    if seen is None:
        return payload
    whole = iter(seen.whole)
    lacking: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    for part, items in zip(lacking, (header, arrays), strict=True):
        for name, item in items.items():
            if not isinstance(item, Rows):
                if next(whole) != _checksum(item):
                    part[name] = item
            elif len(rest := item.values[seen.counts[item.by] :]):
                part[name] = Rows(item.by, rest)
    if not lacking[0] and not lacking[1]:
        return None
    return _written(*lacking, {"state": told["state"], "counts": told["counts"], "from": seen.counts})


def state_at(payload: bytes, counts: Mapping[str, int]) -> str:
    """Return the state of a reader that has these rows, by what they are about, and no whole item."""
    header, arrays = _opened(payload)
    plain = sum(not isinstance(item, Rows) for item in (*header.values(), *arrays.values()))
    return _state(header, arrays, dict(counts), [0] * plain)


def as_json(value: Any) -> bytes:
    """Return the shortest JSON of a header; numbers of numpy are allowed, others than finite ones are not."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"), default=_plain).encode()


def read_header(payload: bytes | bytearray) -> tuple[dict[str, Any], int]:
    """Return the header and where the arrays begin."""
    (length,) = struct.unpack_from("<I", payload)
    return json.loads(payload[4 : 4 + length]), -(-(4 + length) // 8) * 8


def read_arrays(payload: bytes | bytearray) -> dict[str, np.ndarray]:
    """Return the arrays of a payload, flat; those of a bytearray can be written to."""
    header, place = read_header(payload)
    arrays = {}
    for name, dtype, length, _ in header["arrays"]:
        arrays[name] = np.frombuffer(payload, _LONG[dtype], length, place)
        place += -(-arrays[name].nbytes // 8) * 8
    return arrays


def _written(header: Mapping[str, Any], arrays: Mapping[str, Any], about: Mapping[str, Any]) -> bytes:
    lists = {name: item.by for name, item in header.items() if isinstance(item, Rows)}
    parts, places = [], []
    for name, item in arrays.items():
        by, array = item if isinstance(item, Rows) else (None, item)
        places.append([name, _DTYPES[np.asarray(array).dtype.name], array.size, by])
        data = array.tobytes()
        parts.append(data + bytes(-len(data) % 8))
    own = {name: item.values if isinstance(item, Rows) else item for name, item in header.items()}
    text = as_json({"version": VERSION, **about, "lists": lists, **own, "arrays": places})
    start = struct.pack("<I", len(text)) + text
    return b"".join([start, bytes(-len(start) % 8), *parts])


def _opened(payload: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the header's own items and the arrays as they were given to ``pack``."""
    header, _ = read_header(payload)
    lists, counts = header["lists"], header["counts"]
    own = {
        name: Rows(lists[name], value) if name in lists else value
        for name, value in header.items()
        if name not in ("version", "state", "counts", "from", "lists", "arrays")
    }
    found = read_arrays(payload)
    arrays = {
        name: found[name] if by is None else Rows(by, found[name].reshape(counts[by] or 1, -1)[: counts[by]])
        for name, _, _, by in header["arrays"]
    }
    return own, arrays


def _counts(items: Sequence[Any]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for item in items:
        if isinstance(item, Rows) and counts.setdefault(item.by, len(item.values)) != len(item.values):
            raise ValueError(f"{len(item.values)} rows by {item.by} beside {counts[item.by]}")
    return counts


def _state(header: Mapping[str, Any], arrays: Mapping[str, Any], counts: Mapping[str, int], whole: list[int]) -> str:
    numbers = [_form(header, arrays), _rows_checksum(header, arrays, counts), *(counts[by] for by in sorted(counts))]
    data = struct.pack(f"<{len(numbers) + len(whole)}I", *numbers, *whole)
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _seen(header: Mapping[str, Any], arrays: Mapping[str, Any], now: Mapping[str, int], state: str) -> _Seen | None:
    """Return what a state tells, None when it is not one of this payload or of what it was before."""
    try:
        data = base64.urlsafe_b64decode(state + "=" * (-len(state) % 4))
        form, rows, *numbers = struct.unpack(f"<{len(data) // 4}I", data)
    except (ValueError, binascii.Error, struct.error):
        return None
    plain = sum(not isinstance(item, Rows) for item in (*header.values(), *arrays.values()))
    if form != _form(header, arrays) or len(numbers) != len(now) + plain:
        return None
    counts = dict(zip(sorted(now), numbers, strict=False))
    if any(counts[by] > now[by] for by in now) or rows != _rows_checksum(header, arrays, counts):
        return None
    return _Seen(counts, numbers[len(now) :])


def _form(header: Mapping[str, Any], arrays: Mapping[str, Any]) -> int:
    """Return a checksum of the names and kinds of all items."""
    told = [[name, item.by if isinstance(item, Rows) else None] for name, item in (*header.items(), *arrays.items())]
    kinds = [np.asarray(item.values if isinstance(item, Rows) else item).dtype.name for item in arrays.values()]
    return zlib.crc32(as_json([VERSION, told, kinds]))


def _rows_checksum(header: Mapping[str, Any], arrays: Mapping[str, Any], counts: Mapping[str, int]) -> int:
    checksum = 0
    for item in (*header.values(), *arrays.values()):
        if isinstance(item, Rows):
            checksum = _checksum(item.values[: counts[item.by]], checksum)
    return checksum


def _checksum(value: Any, before: int = 0) -> int:
    return zlib.crc32(value.tobytes() if isinstance(value, np.ndarray) else as_json(value), before)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no place in a payload")
