"""``find_series``: measurements that differ in one number, and how cost grows with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.costs.read import Measurement

GROWING = {
    "matrices": "number of adapted matrices",
    "rank": "rank of each matrix",
    "interval": "number of steps between events",
    "length": "length of a sequence in tokens",
}
"""Number of a shape that a series may change → in words."""


@dataclass(frozen=True)
class Series:
    """Measurements of one shape on one device that differ in one number.

    Attributes:
        key: of ``GROWING``.
        points: number → measurement, ascending; at least two.
    """

    key: str
    points: dict[int, Measurement]


def find_series(measurements: Sequence[Measurement]) -> list[Series]:
    """Return every series among measurements; one of them may be a point of several.

    Where two measurements share a point, the last one counts.
    """
    found = []
    for key in GROWING:
        groups: dict[tuple[object, ...], dict[int, Measurement]] = {}
        for one in measurements:
            rest = (one.shape[other] for other in (*GROWING, "name", "family") if other != key)
            groups.setdefault((one.device, *rest), {})[one.shape[key]] = one
        found += [Series(key, dict(sorted(own.items()))) for own in groups.values() if len(own) > 1]
    return found
