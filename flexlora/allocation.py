"""Sharing out a budget of directions, in whole numbers: in proportion, or to the largest. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from flexlora.errors import FlexLoRAError


def share_out(weights: Sequence[float], total: int, largest: Sequence[int], least: int = 1) -> list[int]:
    """Return whole numbers in proportion to the weights that add up to ``total``, by largest remainder.

    Each gets weight · total / Σ weights rounded down, at least ``least`` and at most ``largest``; then one each by what
    is missing most (or, where too much is out, by what is over most), equal ones in their own order.

    Raises:
        FlexLoRAError: weights that are negative, not finite or all 0, or a total that does not fit.
    """
    found = np.asarray(weights, np.float64)
    if not np.isfinite(found).all() or (found < 0).any() or not found.sum() > 0:
        raise FlexLoRAError("Weights to share out by must be finite, at least 0, and not all 0.")
    top = np.asarray(largest, np.int64)
    _check_total(total, len(found), least, top)
    wanted = found / found.sum() * total
    # A share that is whole but for rounding is whole.
    ranks = np.clip(np.floor(wanted + 1e-9).astype(np.int64), np.minimum(least, top), top)
    while left := total - int(ranks.sum()):
        sign = 1 if left > 0 else -1
        able = ranks < top if left > 0 else ranks > least
        missing = np.where(able, np.round((wanted - ranks) * sign, 9), -np.inf)
        ranks[int(np.argmax(missing))] += sign
    return ranks.tolist()


def largest_first(values: Mapping[str, ArrayLike], total: int, largest: Mapping[str, int]) -> dict[str, int]:
    """Return ranks that add up to ``total``: one each, the rest to the largest values of all matrices together.

    Args:
        values: matrix → what each further direction of it is worth, descending; equal values go in module order.
        total: directions to give.
        largest: matrix → the most that it can take.

    Raises:
        FlexLoRAError: a total that does not fit, or values that are not finite.
    """
    _check_total(total, len(values), 1, np.array(list(largest.values())))
    entries = []
    for number, (name, own) in enumerate(values.items()):
        found = np.asarray(own, np.float64)
        if not np.isfinite(found).all():
            raise FlexLoRAError(f"Values to choose the largest of must be finite; those of {name} are not.")
        padded = np.zeros(largest[name])
        padded[: len(found)] = found[: largest[name]]
        entries += [(-float(value), place, number, name) for place, value in enumerate(padded) if place]
    ranks = dict.fromkeys(values, 1)
    for *_, name in sorted(entries)[: total - len(values)]:
        ranks[name] += 1
    return ranks


def least_energy_first(values: Mapping[str, ArrayLike], price: Mapping[str, int]) -> list[tuple[str, int]]:
    """Return (matrix, place) of every direction, the one with the least energy value² for what it costs first.

    Giving up directions in this order makes the least error in the Frobenius norm for each price saved. Equal ones: the
    later place first, then module order.
    """
    entries = [
        (float(value) ** 2 / price[name], -place, number, name)
        for number, (name, own) in enumerate(values.items())
        for place, value in enumerate(np.asarray(own, np.float64).tolist())
    ]
    return [(name, -place) for _, place, _, name in sorted(entries)]


def cut_to(order: Sequence[tuple[str, int]], price: Mapping[str, int], budget: int) -> int:
    """Return how many directions at the front of ``order`` have to go until the rest costs at most ``budget``."""
    spent = sum(price[name] for name, _ in order)
    saved = np.concatenate([[0], np.cumsum([price[name] for name, _ in order], dtype=np.int64)])
    return int(np.searchsorted(saved, spent - budget, side="left")) if spent > budget else 0


def _check_total(total: int, count: int, least: int, top: np.ndarray) -> None:
    if not least * count <= total <= int(top.sum()):
        raise FlexLoRAError(
            f"{total} directions cannot be shared out: {count} matrices take {least * count} to {int(top.sum())}."
        )
