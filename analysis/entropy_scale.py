"""What the entropy colour shows of a run, and on which scale."""

from __future__ import annotations

import math

import numpy as np

from analysis.metrics import GAP_LIMIT, spectrum_gap
from analysis.quantities import quantity
from analysis.runs import Run

ENTROPY_SCALES = ("range", "decision", "absolute")
"""Scales of the entropy colour; the first is the default: that on which real models' matrices differ to the eye."""
DECIDED_BY = {"spectral_entropy": "entropy", "true_spectral_entropy": "true_entropy"}
"""Measure of an event → the quantity it compares, where that is an entropy."""

_ENDS = (5, 95)
"""Percentiles between which the run's range lies."""
_STEPS = 4
"""Steps that the range has at least: rounding its ends outwards leaves two thirds of the scale to it."""
_LEAST_SPAN = 0.002


def shown_colour(run: Run, colour: str, scale: str = ENTROPY_SCALES[0]) -> str:
    """Return the quantity that a colour shows: entropy is that of σ where λ is no spectrum of ΔW.

    On the scale of decisions it is the entropy that the events compare, whatever λ is.
    """
    if colour != "entropy":
        return colour
    if scale == "decision" and decided_quantity(run):
        return str(decided_quantity(run))
    return entropy_shown(run)


def decided_quantity(run: Run) -> str | None:
    """Return which entropy the events of a run decide by, None where they score something else, or there are none."""
    measures = {event.get("measure") for event in run.events}
    return DECIDED_BY.get(str(measures.pop())) if len(measures) == 1 else None


def entropy_shown(run: Run) -> str:
    """Return ``true_entropy`` where the gap of the latest record is above the limit, else ``entropy``."""
    gaps = spectrum_gap(run)
    gaps = gaps[np.isfinite(gaps)]
    return "true_entropy" if len(gaps) and gaps[-1] > GAP_LIMIT else "entropy"


def entropy_range(run: Run, colour: str) -> tuple[float, float]:
    """Return round ends of the scale of one entropy of a run, see ``range_of``."""
    return range_of(quantity(colour).values(run, None))


def range_of(*arrays: np.ndarray) -> tuple[float, float]:
    """Return round numbers around the 5th and 95th percentile of entropies, in [0, 1]; (0, 1) where none is defined.

    Round, so that the scale of a run that still trains changes seldom.
    """
    known = np.concatenate([values[np.isfinite(values)] for values in arrays]) if arrays else np.zeros(0)
    if not len(known):
        return 0.0, 1.0
    low, high = np.percentile(known, _ENDS).tolist()
    if high - low < _LEAST_SPAN:
        middle = min(1 - _LEAST_SPAN / 2, max(_LEAST_SPAN / 2, (low + high) / 2))
        low, high = middle - _LEAST_SPAN / 2, middle + _LEAST_SPAN / 2
    raw = (high - low) / _STEPS
    digits = -math.floor(math.log10(raw))
    step = max(factor for factor in (1, 2, 5) if factor * 10.0**-digits <= raw * (1 + 1e-9)) * 10.0**-digits
    # A hair's breadth beyond a round number is on it.
    ends = math.floor(low / step + 1e-6) * step, math.ceil(high / step - 1e-6) * step
    return max(0.0, round(ends[0], digits)), min(1.0, round(ends[1], digits))
