"""Importance of many matrices at once, from spectra laid side by side."""

from __future__ import annotations

import math

import numpy as np

from flexlora.importance import IMPORTANCES, SCORED_BY_LAMBDA
from flexlora.ragged import Spectra


def adjusted(values: np.ndarray, lengths: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """Return |λ| of each matrix, descending, cut or filled with zeros to a rank it did not have.

    What a replay with other ranks must guess: a direction that was not trained has λ = 0, as a new one has; one too
    many is the smallest, as a prune takes it.

    ``values`` are λ of M matrices as logged, one after the other, ``lengths`` (M,) how many each has, ``ranks`` (M,)
    those of the replay. The result is (M, R), R at least every length and rank, zeros beyond each rank.
    """
    width = int(max(1, lengths.max(initial=1), ranks.max(initial=1)))
    places = np.arange(width)
    table = np.zeros((len(lengths), width))
    table[places < lengths[:, None]] = np.abs(np.asarray(values, np.float64))
    table = -np.sort(-table, axis=1)
    table[places >= ranks[:, None]] = 0.0
    return table


def score_table(key: str, table: np.ndarray, ranks: np.ndarray, epsilon: float = 0.0) -> list[float | None]:
    """Return what ``IMPORTANCES[key]`` says of each row's first ``ranks`` (M,) values; None = undefined.

    ``key`` is one of ``SCORED_BY_LAMBDA``, ``table`` (M, R) |λ|, descending, with zeros beyond each rank; ``epsilon``
    is that of ``spectral_entropy``.
    """
    if key not in SCORED_BY_LAMBDA:
        raise ValueError(f"{key} is not scored by λ alone; choose one of {', '.join(SCORED_BY_LAMBDA)}")
    values = table[np.arange(table.shape[1]) < ranks[:, None]]
    found = IMPORTANCES[key].many(Spectra(values, np.concatenate([[0], np.cumsum(ranks)])), epsilon)
    return [None if math.isnan(score) else score for score in found.tolist()]
