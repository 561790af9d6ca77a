"""Where the trials of a search lie: the same number of points for every variant, spread evenly and without chance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from flexlora.errors import FlexLoRAError
from flexlora.study import fields

SCALES = ("log", "linear")


@dataclass(frozen=True)
class Space:
    """A list of values, or a range.

    Attributes:
        values: in order; empty for a range.
        low: end of the range.
        high: its other end.
        scale: ``log`` or ``linear``.
    """

    values: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    scale: str = "linear"

    def at(self, share: float) -> Any:
        """Return the value at a share in [0, 1) of the way; whole between two whole ends."""
        if self.values:
            return self.values[int(share * len(self.values))]
        if self.scale == "log":
            value = math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low)))
        else:
            value = self.low + share * (self.high - self.low)
        # Three digits are more than any search resolves, and read better in a table.
        return round(value) if isinstance(self.low, int) and isinstance(self.high, int) else float(f"{value:.3g}")

    def to_dict(self) -> dict[str, Any]:
        """Return the space as the file of choices keeps it."""
        return {"values": list(self.values)} if self.values else vars(self) | {"values": []}


def read_space(value: Any, where: str, *, scale: str) -> Space:
    """Read a list, or ``{low, high, scale}``.

    Args:
        value: as in the study file.
        where: what to call it in errors.
        scale: of a range that names none.

    Raises:
        FlexLoRAError: neither, or a range that is none.
    """
    if isinstance(value, list):
        if not value:
            raise FlexLoRAError(f"{where} has no value.")
        fields.no_repeats([str(item) for item in value], where)
        return Space(values=tuple(value))
    told = fields.mapping(value, where, ("low", "high", "scale"), required=("low", "high"))
    scale = told.get("scale", scale)
    if scale not in SCALES:
        raise FlexLoRAError(f"{where}: scale is {fields.shown(scale)}. Choose one of: {', '.join(SCALES)}.")
    low, high = (fields.number(told[key], f"{where}: {key}") for key in ("low", "high"))
    if low >= high or (scale == "log" and low <= 0):
        raise FlexLoRAError(
            f"{where}: {low:g} to {high:g} is no {scale} range; low must be below high, and above 0 for log."
        )
    return Space(low=told["low"], high=told["high"], scale=scale)


def points(rates: Space, knob: Space | None, trials: int) -> list[tuple[Any, Any]]:
    """Return (learning rate, knob or None) of each trial: a Hammersley set.

    Learning rates are evenly spread, the same for every variant of a method; knobs follow van der Corput's sequence, so
    that neighbouring rates get distant knobs.
    """
    shares = [(index + 0.5) / trials for index in range(trials)]
    return [
        (rates.at(share), None if knob is None else knob.at(_van_der_corput(index)))
        for index, share in enumerate(shares)
    ]


def _van_der_corput(index: int) -> float:
    share, part = 0.0, 0.5
    while index:
        share += part * (index & 1)
        index >>= 1
        part /= 2
    return share
