"""Random numbers that any engine can draw, in any order: the counter-based generator of docs/planted.md. Torch-free.

A number is a function of its key (seed, stream, two places) and its index; nothing is kept between two of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

STREAMS: dict[str, int] = {
    "weights": 1,
    "left": 2,
    "right": 3,
    "scenario": 4,
    "inputs": 5,
    "noise": 6,
    "directions": 7,
    "ties": 8,
    "policy": 9,
    "masks": 10,
}
"""What is drawn → number of its stream; docs/planted.md says what the two places of each are."""

GOLDEN = 0x9E3779B9
_WORD = 0xFFFFFFFF


def mix(x: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return lowbias32 of each 32-bit integer (C. Wellons, https://nullprogram.com/blog/2018/07/31/)."""
    x = x ^ (x >> np.uint32(16))
    x = x * np.uint32(0x7FEB352D)
    x = x ^ (x >> np.uint32(15))
    x = x * np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))


def key_of(seed: int, stream: str, first: int = 0, second: int = 0) -> int:
    """Return the 32-bit key of a sequence: k ← mix((k ⊕ word) + 0x9E3779B9) over its four words, from k = 0.

    Args:
        seed: its lowest 32 bits count.
        stream: key of ``STREAMS``.
        first: the first place, such as a step.
        second: the second place, such as a matrix.
    """
    key = 0
    for word in (seed, STREAMS[stream], first, second):
        key = _mix_one(((key ^ (word & _WORD)) + GOLDEN) & _WORD)
    return key


def bits(key: int, index: ArrayLike) -> NDArray[np.uint32]:
    """Return the 32-bit integers of a sequence: mix(mix(index + key) ⊕ mix(key + 0x9E3779B9)); the shape of ``index``.

    Two rounds with two keys: with one, the sequences of two keys would be each other's, shifted.
    """
    other = np.uint32(_mix_one((key + GOLDEN) & _WORD))
    return mix(mix(np.asarray(index).astype(np.uint32) + np.uint32(key)) ^ other)


def uniforms(key: int, index: ArrayLike) -> NDArray[np.float64]:
    """Return (bits + 1/2) / 2³² in (0, 1), float64; the shape of ``index``."""
    return (bits(key, index).astype(np.float64) + 0.5) * 2.0**-32


def normals(key: int, pairs: ArrayLike) -> NDArray[np.float64]:
    """Return standard normal values by Box-Muller, two a pair: (..., 2) for pairs (...).

    With u, v the uniforms 2p and 2p + 1: √(−2 ln u) · cos 2πv and √(−2 ln u) · sin 2πv.
    """
    even = 2 * np.asarray(pairs, np.int64)
    radius = np.sqrt(-2.0 * np.log(uniforms(key, even)))
    angle = 2.0 * np.pi * uniforms(key, even + 1)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)


def normal_rows(key: int, rows: ArrayLike, width: int) -> NDArray[np.float64]:
    """Return rows of a table of normal values, (n, width): row i holds the pairs from i · ⌈width / 2⌉ on."""
    half = (width + 1) // 2
    pairs = np.asarray(rows, np.int64)[:, None] * half + np.arange(half)
    return normals(key, pairs).reshape(len(pairs), 2 * half)[:, :width]


def permutation(key: int, count: int) -> NDArray[np.int64]:
    """Return 0 … count − 1 in the order of their 32-bit integers; equal ones in their own order."""
    return np.argsort(bits(key, np.arange(count)), kind="stable")


class Counter:
    """One sequence, read from its start: what draws vectors in place of a stateful generator.

    Attributes:
        key: of the sequence.
        position: index of the next number.
    """

    def __init__(self, seed: int, stream: str, first: int = 0, second: int = 0) -> None:
        self.key = key_of(seed, stream, first, second)
        self.position = 0

    def uniform(self, count: int) -> NDArray[np.float64]:
        """Return the next values in (0, 1), (count,)."""
        start, self.position = self.position, self.position + count
        return uniforms(self.key, start + np.arange(count))

    def normal(self, count: int) -> NDArray[np.float64]:
        """Return the next standard normal values, (count,); a vector takes whole pairs, from an even index on."""
        start = (self.position + 1) // 2
        half = (count + 1) // 2
        self.position = 2 * (start + half)
        return normals(self.key, start + np.arange(half)).ravel()[:count]


def _mix_one(x: int) -> int:
    return int(mix(np.array([x], np.uint32))[0])
