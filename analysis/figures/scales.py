"""What a colour means: the player's scales, on domains that stay fixed over a whole run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from plotly.colors import hex_to_rgb, unlabel_rgb

from analysis.entropy_scale import range_of
from analysis.metrics import GAP_LIMIT

# Cividis (Nuñez, Anderton, Renslow 2018): the same lightness order for every kind of colour vision.
CIVIDIS = [
    "#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838",
]  # fmt: skip
BLUES = ["#eaf2fb", "#cfe1f4", "#a9cbea", "#79afdc", "#4c90ca", "#2b71b3", "#16539a", "#0b3a78", "#072654"]
VIOLETS = ["#f3effa", "#ded3ef", "#c4b1e2", "#a78bd2", "#8a67bf", "#6f47a6", "#572d88", "#401a68", "#2b0d49"]
GREENS = ["#e8f4ef", "#c8e5d8", "#9fd2bc", "#6fba9a", "#3f9e78", "#1f805d", "#0f6548", "#084a34", "#043122"]
CHANGE = ["#8a3c00", "#b85a0a", "#de8a3f", "#f2bd8a", "#eeeeee", "#a5c9e8", "#5d9dd0", "#2a6fb0", "#0e4480"]
# The same meaning where the page is dark: what did not change is quiet, and what changed most stands out.
CHANGE_ON_DARK = ["#f7b27a", "#e3924c", "#bd6d2a", "#7d5030", "#3d4349", "#33597c", "#3f81b5", "#6aabdd", "#a3cdf0"]
DARK_MIX = np.array([150.0, 165.0, 182.0])
"""What colours are mixed with where the page is dark, so that neither end of a scale sinks into it or glares."""
DARK_SHARE = 0.3

MOST_STEPS = 65
"""Colours of a discrete scale at most; more cannot be told apart and run together."""
FINE = 32
ROUND = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)


class Scale(NamedTuple):
    """Colours and the domain they cover, as Plotly wants them."""

    colours: list[list[Any]]
    low: float
    high: float
    ticks: dict[str, Any]

    def axis(self, title: str, **bar: Any) -> dict[str, Any]:
        """Return a Plotly colour axis."""
        own = {"thickness": 10, "outlinewidth": 0, "title": {"text": title, "side": "right"}, **self.ticks, **bar}
        return {"colorscale": self.colours, "cmin": self.low, "cmax": self.high, "colorbar": own}


def blend(stops: Sequence[str], share: float) -> str:
    """Return the colour at a share, 0 to 1, between evenly spaced stops."""
    position = min(1.0, max(0.0, share)) * (len(stops) - 1)
    low = min(int(position), len(stops) - 2)
    first, second = (np.array(hex_to_rgb(stops[low + i]), float) for i in (0, 1))
    mixed = np.floor(first + (second - first) * (position - low) + 0.5).astype(int).tolist()
    return f"rgb({mixed[0]},{mixed[1]},{mixed[2]})"


def nice_ceiling(value: float) -> float:
    """Return a round number just above a value, as the player rounds the top of an axis."""
    if not value > 0 or not np.isfinite(value):
        return 1.0
    power = float(10.0 ** np.floor(np.log10(value)))
    return next((n * power for n in ROUND if n * power >= value * 0.999999), 10 * power)


def rank_scale(arrays: Sequence[np.ndarray]) -> Scale:
    """Single-hue blues, one colour a rank, from just below the lowest to the highest rank of the run."""
    low, high = _range(arrays, 1.0)
    base, levels = max(0.0, low - 1), np.arange(int(low), int(high) + 1)
    if low == high:
        return _stepped([blend(BLUES, 128 / 255)], low, high)
    shares = (levels - base) / max(1.0, high - base)
    if len(levels) > MOST_STEPS:
        ends = np.linspace(shares[0], shares[-1], len(BLUES)).tolist()
        return Scale(_evenly([blend(BLUES, share) for share in ends]), low, high, {})
    return _stepped([blend(BLUES, share) for share in shares.tolist()], low, high)


def change_scale(arrays: Sequence[np.ndarray], stops: Sequence[str] = CHANGE) -> Scale:
    """Orange to blue, one colour a whole number, from the largest loss to the largest gain.

    0 is the middle of the stops, and a loss is as far from it as a gain of that size; of ranks that only fall the half
    that nothing can have is left out.
    """
    lowest, highest = _range(arrays, 0.0)
    low, high = int(min(lowest, 0)), int(max(highest, 0))
    extent = max(1, -low, high)

    def colour(change: float) -> str:
        return blend(stops, 0.5 + 0.5 * change / extent)

    if high - low + 1 > MOST_STEPS:
        return Scale(_evenly([colour(change) for change in np.linspace(low, high, FINE + 1).tolist()]), low, high, {})
    return _stepped([colour(change) for change in range(low, high + 1)], low, high)


def on_dark(scale: Scale) -> Scale:
    """Return a scale of one direction for a dark page: the largest is the lightest, and both ends are less extreme."""
    colours = [colour for _, colour in scale.colours]
    if _light(colours[-1]) < _light(colours[0]):
        colours.reverse()

    def mixed(colour: str) -> str:
        rgb = _rgb(colour)
        red, green, blue = np.round((1 - DARK_SHARE) * rgb + DARK_SHARE * DARK_MIX).astype(int).tolist()
        return f"rgb({red},{green},{blue})"

    places = [place for place, _ in scale.colours]
    return scale._replace(colours=[[place, mixed(colour)] for place, colour in zip(places, colours, strict=True)])


def _rgb(colour: str) -> np.ndarray:
    return np.array(hex_to_rgb(colour) if colour[0] == "#" else unlabel_rgb(colour), float)


def _light(colour: str) -> float:
    return float(_rgb(colour) @ [0.2126, 0.7152, 0.0722])


def difference_scale(arrays: Sequence[np.ndarray]) -> Scale:
    """Orange to blue without steps, symmetric around 0."""
    extent = float(np.max(np.abs(_range(arrays, 0.0)))) or 1.0
    return Scale(_evenly(CHANGE), -extent, extent, {})


def gap_scale(arrays: Sequence[np.ndarray]) -> Scale:
    """Greens from 0 to a round number above the run's largest gap; the colour follows the square root."""
    largest = _range(arrays, 0.0)[1]
    # The limit itself stands well apart from both ends.
    high = max(2.5 * GAP_LIMIT, nice_ceiling(largest) if largest > 0 else 0.0)
    return _bent(GREENS, high, {"tickvals": [0, GAP_LIMIT, high]}, place=2)


def count_scale(arrays: Sequence[np.ndarray]) -> Scale:
    """Blues without steps over the range of the numbers."""
    low, high = _range(arrays, 0.0)
    return Scale(_evenly(BLUES), low, max(high, low + 1e-12), {})


def level_scale(arrays: Sequence[np.ndarray]) -> Scale:
    """Blues without steps from just below the lowest, or a nearly even map would be one dark block."""
    low, high = _range(arrays, 1.0)
    low = max(0.0, low - 1)
    return Scale(_evenly(BLUES), low, max(high, low + 1), {})


def even_scale(stops: Sequence[str], arrays: Sequence[np.ndarray]) -> Scale:
    """Evenly spaced colours from 0 to the largest number, which is above 0."""
    return Scale(_evenly(stops), 0.0, _range(arrays, 1.0)[1] or 1.0, {})


def absolute_scale(arrays: Sequence[np.ndarray]) -> Scale:
    """Cividis over [0, 1], the same in every figure; most of what happens lies high: the colour follows the square."""
    return _bent(CIVIDIS, 1.0, {"tickvals": [0, 0.3, 0.5, 0.7, 0.9, 1]}, shade=2)


def range_scale(arrays: Sequence[np.ndarray]) -> Scale:
    """Cividis between round numbers around the 5th and 95th percentile; what lies beyond has the colour of the end."""
    low, high = range_of(*arrays)
    return Scale(_evenly(CIVIDIS), low, high, {})


SCALES: dict[str, Callable[[Sequence[np.ndarray]], Scale]] = {
    "rank": rank_scale,
    "change": change_scale,
    # On [0, 1] the matrices of a real model are one colour: theirs lie between .9 and 1.
    "entropy": range_scale,
    "true_entropy": range_scale,
    # A few matrices hold most of it: the colour follows the square root.
    "energy": lambda arrays: _bent(VIOLETS, nice_ceiling(_range(arrays, 0.0)[1]), {}, place=2),
    "parameters": lambda arrays: even_scale(BLUES, [*arrays, np.ones(1)])._replace(ticks={"tickformat": ".2s"}),
    "gap": gap_scale,
}
"""Colour → f(every number that it must cover) → scale."""


def _bent(stops: Sequence[str], high: float, ticks: dict[str, Any], place: int = 1, shade: int = 1) -> Scale:
    """From 0 to a number, with the place of each colour, or the colour at each place, to a power."""
    shares = [i / FINE for i in range(FINE + 1)]
    return Scale([[share**place, blend(stops, share**shade)] for share in shares], 0.0, high, ticks)


def _evenly(stops: Sequence[str]) -> list[list[Any]]:
    return [[i / (len(stops) - 1), colour] for i, colour in enumerate(stops)]


def _range(arrays: Sequence[np.ndarray], otherwise: float) -> tuple[float, float]:
    found = [array[np.isfinite(array)] for array in arrays]
    found = [array for array in found if len(array)]
    if not found:
        return otherwise, otherwise
    return float(min(array.min() for array in found)), float(max(array.max() for array in found))


def _stepped(colours: list[str], low: float, high: float) -> Scale:
    """Give each whole number from low to high one flat colour."""
    count = len(colours)
    stops = [[place / count, colour] for i, colour in enumerate(colours) for place in (i, i + 1)]
    ticks = {"tick0": low, "dtick": max(1, -(-count // 12))}
    return Scale(stops, low - 0.5, high + 0.5, ticks)
