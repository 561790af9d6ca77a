"""What ElaLoRA and L1RA move at an event, from what they see. Pure functions; their policies share them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

Entry = tuple[float, str, int]
"""Score, matrix and slot of one direction in the pool."""


def pool_ends(
    scores: Mapping[str, np.ndarray], slots: Mapping[str, list[int]], limits: Mapping[str, int], pool: int, budget: int
) -> tuple[list[Entry], list[Entry]]:
    """Return ElaLoRA's choice: directions to prune, lowest first, and those whose matrices get one, highest first.

    Args:
        scores: matrix → score of each direction (r,).
        slots: matrix → slot of each direction.
        limits: matrix → highest rank it may have.
        pool: directions that each matrix puts up.
        budget: the most of each.

    Returns:
        Two lists of equal length without a common entry, so that total rank is conserved. A matrix keeps one direction.
    """
    entries: list[Entry] = []
    for name, own in scores.items():
        lowest = np.argsort(own, kind="stable")[:pool]
        entries.extend((float(own[place]), name, slots[name][place]) for place in lowest.tolist())
    entries.sort(key=lambda entry: entry[0])
    ranks = {name: len(own) for name, own in slots.items()}
    while True:
        taken, given = _ends(entries, dict(ranks), limits, budget)
        count = min(len(taken), len(given))
        if len(taken) == count:
            return taken, given[:count]
        # A direction that is not taken after all leaves no room for another.
        budget = count


def _ends(
    entries: list[Entry], ranks: dict[str, int], limits: Mapping[str, int], budget: int
) -> tuple[list[Entry], list[Entry]]:
    taken: list[Entry] = []
    for entry in entries:
        if len(taken) < budget and ranks[entry[1]] > 1:
            ranks[entry[1]] -= 1
            taken.append(entry)
    given: list[Entry] = []
    for entry in reversed(entries):
        if len(given) < budget and entry not in taken and ranks[entry[1]] < limits[entry[1]]:
            ranks[entry[1]] += 1
            given.append(entry)
    return taken, given


def at_zero(
    values: Mapping[str, np.ndarray], limits: Mapping[str, int], below: float
) -> tuple[list[tuple[str, int]], list[str]]:
    """Return L1RA's choice: (matrix, place) of the directions to prune, and the matrices to extend in turn.

    Args:
        values: matrix → λ of its directions (r,).
        limits: matrix → highest rank it may have.
        below: a λ below this is pruned; a matrix keeps its largest.

    Returns:
        As many extensions as prunes, fewer where no matrix that lost nothing has room.
    """
    prune: list[tuple[str, int]] = []
    for name, own in values.items():
        low = np.flatnonzero(own < below).tolist()
        if len(low) == len(own):
            low.remove(int(np.argmax(own)))
        prune.extend((name, place) for place in low)
    losers = {name for name, _ in prune}
    order = sorted((name for name in values if name not in losers), key=lambda name: -float(values[name].min()))
    room = {name: limits[name] - len(values[name]) for name in order}
    extend: list[str] = []
    while len(extend) < len(prune) and any(room.values()):
        for name in order:
            if room[name] and len(extend) < len(prune):
                room[name] -= 1
                extend.append(name)
    return prune, extend
