"""Numbers in fewer bytes; each code has its decoder in app/player/model/decode.js."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

UNDEFINED = 65535
"""Code of an entropy that is undefined; 0 to 65534 stand for [0, 1]."""


class LogScale(NamedTuple):
    """What the least code above 0 and the last but one stand for; those between are even steps of the logarithm."""

    low: float
    high: float


def coded_entropy(entropy: np.ndarray) -> np.ndarray:
    """Return entropies in [0, 1] as uint16, NaN as ``UNDEFINED``."""
    steps = np.round(np.nan_to_num(entropy) * (UNDEFINED - 1))
    return np.where(np.isnan(entropy), UNDEFINED, steps).astype(np.uint16)


def coded_gates(gates: np.ndarray) -> np.ndarray:
    """Return gates in [0, 1] as uint8; one above 0 stays above 0, as it tells on from off."""
    return np.where(gates > 0, np.clip(np.round(gates * 255), 1, 255), 0).astype(np.uint8)


def coded_logarithm(values: np.ndarray, dtype: type[np.unsignedinteger]) -> tuple[np.ndarray, LogScale]:
    """Return numbers that are not negative on a scale of even ratios, and that scale.

    0 stands for 0, the largest code for undefined, infinite or negative ones; an error is at most half a step of the
    logarithm.
    """
    last = np.iinfo(dtype).max
    usable = np.isfinite(values) & (values > 0)
    found = values[usable]
    if not len(found):
        return np.where(values == 0, 0, last).astype(dtype), LogScale(1.0, 1.0)
    scale = LogScale(float(found.min()), float(found.max()))
    span = np.log(scale.high) - np.log(scale.low)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (np.log(np.where(usable, values, scale.low)) - np.log(scale.low)) / (span or 1.0)
    codes = 1 + np.round(share * (last - 2))
    return np.where(usable, codes, np.where(values == 0, 0, last)).astype(dtype), scale


def float32(array: np.ndarray) -> np.ndarray:
    """Return float32; a run that diverges leaves its range, and inf says so."""
    with np.errstate(over="ignore"):
        return array.astype(np.float32)
