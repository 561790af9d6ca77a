"""What the atlas measures of a matrix and of an adapter. Pure functions of singular values, scale-free but one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from flexlora.importance import effective_rank, spectral_entropy

Quantity = Callable[[np.ndarray], float | None]
"""f(σ descending, not all 0) → number; None where it is undefined."""


def shares(singular_values: np.ndarray) -> np.ndarray:
    """Return the share of the energy Σσ² in each direction, (r,); scaled first, so that no square vanishes."""
    squares = np.square(singular_values / singular_values[0])
    return np.asarray(squares / squares.sum())


def _rank_99(singular_values: np.ndarray) -> float:
    held = np.cumsum(shares(singular_values))
    return float(np.searchsorted(held, 0.99 * (1 - 1e-12)) + 1) / len(singular_values)


OF_A_MATRIX: dict[str, Quantity] = {
    "entropy": spectral_entropy,
    "effective_rank": effective_rank,
    "stable_rank": lambda values: 1.0 / float(shares(values)[0]),
    "top_share": lambda values: float(shares(values)[0]),
    "top_over_norm": lambda values: float(np.sqrt(shares(values)[0])),
    "tail_share": lambda values: float(shares(values)[(len(values) + 1) // 2 :].sum()) if len(values) > 1 else None,
    "rank_99_share": _rank_99,
}
"""Name → what is measured of a matrix.

In order: entropy of the energy shares in [0, 1], its exponential, Σσ² / σ₁², σ₁² / Σσ², σ₁ / ‖ΔW‖_F, the share of
energy in the smaller half of the directions, and the share of directions that hold 99 % of the energy.
"""


FEWEST = 4
"""Places, or matrices, below which nothing is concentrated: of one, the largest is always the mean."""


def entry_size(singular_values: np.ndarray, rows: int, columns: int) -> float:
    """Return the root mean square of ΔW's entries, ‖ΔW‖_F / √(rows · columns): it stands beside that of weights."""
    return float(np.linalg.norm(singular_values) / np.sqrt(max(1, rows * columns)))


def concentration(energies: Mapping[object, float]) -> float | None:
    """Return the largest share of the energy in one place times the number of places: 1 = even; None if there is none.

    ``energies`` is place (a layer, a matrix) → Σσ² there.
    """
    whole = sum(energies.values())
    return max(energies.values()) / whole * len(energies) if whole > 0 else None


def of_adapter(layers: Sequence[int | None], spectra: Sequence[np.ndarray]) -> dict[str, float]:
    """Return what is measured of a whole adapter, over matrices that are finite; what is undefined is left out.

    Args:
        layers: of each matrix; those of none count as one place.
        spectra: σ of each matrix, descending.

    Returns:
        ``layer_concentration`` and ``matrix_concentration``: ``concentration`` over layers and over matrices;
        ``spike``: the largest σ₁ of a matrix as a multiple of the middle one's. Each needs ``FEWEST`` places.
    """
    own: dict[object, float] = {}
    for layer, values in zip(layers, spectra, strict=True):
        own[layer] = own.get(layer, 0.0) + float(np.square(values).sum())
    each = dict[object, float](enumerate(float(np.square(values).sum()) for values in spectra))
    found = {
        "layer_concentration": concentration(own) if len(own) >= FEWEST else None,
        "matrix_concentration": concentration(each) if len(each) >= FEWEST else None,
    }
    tops = [float(values[0]) for values in spectra if len(values) and values[0] > 0]
    found["spike"] = max(tops) / float(np.median(tops)) if len(tops) >= FEWEST else None
    return {name: value for name, value in found.items() if value is not None}


def measured(spectra: Sequence[np.ndarray]) -> dict[str, list[float]]:
    """Return quantity → its values over the matrices that are alive and finite and have more than one direction."""
    live = [values for values in spectra if len(values) > 1 and np.isfinite(values).all() and values[0] > 0]
    found = {name: [quantity(values) for values in live] for name, quantity in OF_A_MATRIX.items()}
    return {name: [value for value in own if value is not None] for name, own in found.items()}
