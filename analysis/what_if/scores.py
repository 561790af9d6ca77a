"""Importance of many matrices at once, from spectra laid side by side."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from flexlora.importance import IMPORTANCES, SCORED_BY_LAMBDA


def adjusted(values: np.ndarray, lengths: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """Return |λ| of each matrix, descending, cut or filled with zeros to a rank it did not have.

    What a replay with other ranks must guess: a direction that was not trained has λ = 0, as a new one has; one too
    many is the smallest, as a prune takes it.

    Args:
        values: λ of M matrices as logged, one after the other.
        lengths: (M,) how many each has.
        ranks: (M,) rank of each in the replay.

    Returns:
        (M, R) with R at least every length and rank, zeros beyond each rank.
    """
    width = int(max(1, lengths.max(initial=1), ranks.max(initial=1)))
    places = np.arange(width)
    table = np.zeros((len(lengths), width))
    table[places < lengths[:, None]] = np.abs(np.asarray(values, np.float64))
    table = -np.sort(-table, axis=1)
    table[places >= ranks[:, None]] = 0.0
    return table


def score_table(key: str, table: np.ndarray, ranks: np.ndarray, epsilon: float = 0.0) -> list[float | None]:
    """Return what ``IMPORTANCES[key]`` says of each row's first ``ranks`` values; None = undefined.

    Args:
        key: one of ``SCORED_BY_LAMBDA``.
        table: (M, R) |λ|, descending, zeros beyond each rank.
        ranks: (M,) rank of each row.
        epsilon: as in ``spectral_entropy``.
    """
    if key not in SCORED_BY_LAMBDA:
        raise ValueError(f"{key} is not scored by λ alone; choose one of {', '.join(SCORED_BY_LAMBDA)}")
    usable = np.isfinite(table).all(axis=1) & (ranks > 0)
    if key not in _TABLES:
        measure = IMPORTANCES[key]
        return [
            measure(row[:rank]) if fine else None
            for row, rank, fine in zip(table, ranks.tolist(), usable.tolist(), strict=True)
        ]
    with np.errstate(all="ignore"):
        found = _TABLES[key](np.where(usable[:, None], table, 0.0), ranks, epsilon)
    if key in _UNDEFINED_AT_ZERO:
        usable &= table.max(axis=1) > 0
    return [value if fine else None for value, fine in zip(found.tolist(), usable.tolist(), strict=True)]


def _shares(table: np.ndarray) -> np.ndarray:
    peak = table.max(axis=1, keepdims=True)
    energy = np.square(table / np.where(peak > 0, peak, 1.0))
    return energy / np.where(peak > 0, energy.sum(axis=1, keepdims=True), 1.0)


def _information(table: np.ndarray) -> np.ndarray:
    shares = _shares(table)
    return -np.where(shares > 0, shares * np.log(np.where(shares > 0, shares, 1.0)), 0.0).sum(axis=1)


def _entropy(table: np.ndarray, ranks: np.ndarray, epsilon: float) -> np.ndarray:
    if epsilon:
        shares = _shares(table)
        inside = np.arange(table.shape[1]) < ranks[:, None]
        terms = np.where(inside, shares * np.log(shares + epsilon), 0.0)
        return np.where(ranks == 1, 1.0, -terms.sum(axis=1) / np.log(ranks))
    return np.where(ranks == 1, 1.0, np.clip(_information(table) / np.log(ranks), 0.0, 1.0))


def _effective(table: np.ndarray, ranks: np.ndarray, epsilon: float) -> np.ndarray:
    return np.clip(np.exp(_information(table)), 1.0, ranks)


def _nuclear(table: np.ndarray, ranks: np.ndarray, epsilon: float) -> np.ndarray:
    return table.sum(axis=1)


def _frobenius(table: np.ndarray, ranks: np.ndarray, epsilon: float) -> np.ndarray:
    peak = table.max(axis=1)
    return peak * np.sqrt(np.square(table / np.where(peak > 0, peak, 1.0)[:, None]).sum(axis=1))


def _gated(table: np.ndarray, ranks: np.ndarray, epsilon: float) -> np.ndarray:
    return _entropy(table, ranks, 0.0) * _frobenius(table, ranks, 0.0)


_TABLES: dict[str, Callable[[np.ndarray, np.ndarray, float], np.ndarray]] = {
    "spectral_entropy": _entropy,
    "effective_rank": _effective,
    "nuclear_norm": _nuclear,
    "frobenius_norm": _frobenius,
    "energy_gated_entropy": _gated,
}
_UNDEFINED_AT_ZERO = ("spectral_entropy", "effective_rank", "energy_gated_entropy")
