"""The directions of one matrix: where each is stored, how long it stays, what an event did to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from analysis.runs import Run


class Direction(NamedTuple):
    """A direction at a record.

    Attributes:
        slot: where it is stored; None when the log does not say.
        singular_value: λ as trained, signed.
        gate: 0 = off and may come back, else the share of training steps that use it.
        energy_share: λ² as a share of the matrix's energy; NaN where off or undefined.
        state: kept, off, pruned, goes off, comes back, new, or back: by the event at this record or the one before.
    """

    slot: int | None
    singular_value: float
    gate: float
    energy_share: float
    state: str


def matrix_place(run: Run, matrix: str) -> int:
    """Return the place of a matrix in the header.

    Raises:
        ValueError: the run has no matrix of this name.
    """
    names = [item.name for item in run.matrices]
    if matrix not in names:
        raise ValueError(f"unknown matrix {matrix!r}; this run has {', '.join(names[:4])}, ... ({len(names)} in all)")
    return names.index(matrix)


def direction_lines(
    run: Run, matrix: int, source: np.ndarray | None = None
) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """Return (slot, steps (n,), signed λ (n,)) for each stay of a direction in a slot of one matrix, in order.

    Args:
        run: a loaded run.
        matrix: its place in the header.
        source: read this flat array, one number a λ, in place of λ.
    """
    numbers = run.log.values if source is None else source
    name = run.matrices[matrix].name
    active = list(range(int(run.stored[0, matrix]))) if len(run.steps) else []
    pending = [(event["step"], event) for event in run.events]
    open_lines: dict[int, list[tuple[int, float]]] = {}
    done: list[tuple[int, list[tuple[int, float]]]] = []
    columns = len(run.matrices)
    for record, step in enumerate(run.steps.tolist()):
        while pending and pending[0][0] < step:
            for move in pending.pop(0)[1]["prune"]:
                if move["matrix"] == name and move["slot"] in active and not is_soft(move):
                    active.remove(move["slot"])
                    done.append((move["slot"], open_lines.pop(move["slot"], [])))
            active = sorted([*active, *_extended(run, name, step, record)])
        place = record * columns + matrix
        values = numbers[run.log.offsets[place] : run.log.offsets[place + 1]]
        if len(values) == len(active):
            for slot, value in zip(active, values.tolist(), strict=True):
                open_lines.setdefault(slot, []).append((step, value))
    done.extend(open_lines.items())
    stays = sorted(((slot, np.array(points)) for slot, points in done if points), key=lambda s: (s[1][0, 0], s[0]))
    return [(slot, points[:, 0], points[:, 1]) for slot, points in stays]


def _extended(run: Run, name: str, step: int, record: int) -> list[int]:
    since = int(run.steps[record - 1]) if record else -1
    return [
        move["slot"]
        for event in run.events
        if since <= event["step"] < step
        for move in event["extend"]
        if move["matrix"] == name and not is_soft(move)
    ]


def is_soft(move: Mapping[str, Any]) -> bool:
    """Return True for a move that switches a direction off or on and leaves it stored."""
    return not {"masked", "revived"}.isdisjoint(move.get("rules") or ())


def slots_at(run: Run, record: int, matrix: int) -> list[int] | None:
    """Return the slots of the stored directions in the order of their λ, replayed from the events.

    None when the log does not say: an imported one, or one with a gap.
    """
    name = run.matrices[matrix].name
    active = set(range(int(run.stored[0, matrix])))
    for event in run.events:
        if event["step"] >= run.steps[record]:
            break
        active -= {move.get("slot", -1) for move in _own(event, "prune", name) if not is_soft(move)}
        active |= {move.get("slot", -1) for move in _own(event, "extend", name) if not is_soft(move)}
    return sorted(active) if len(active) == run.stored[record, matrix] and -1 not in active else None


def directions_at(run: Run, record: int, matrix: int) -> list[Direction]:
    """Return the directions of a matrix: those that are on first, largest |λ| first.

    Args:
        run: a loaded run.
        record: a spectrum record.
        matrix: its place in the header.
    """
    place = record * len(run.matrices) + matrix
    own = slice(int(run.log.offsets[place]), int(run.log.offsets[place + 1]))
    values = run.log.values[own].astype(np.float64)
    gates = np.ones(len(values)) if run.log.gates is None else run.log.gates[own].astype(np.float64)
    energy = float(run.energy[record, matrix])
    states = _states(run, record, matrix)
    slots = slots_at(run, record, matrix)
    found = []
    for i, (value, gate) in enumerate(zip(values.tolist(), gates.tolist(), strict=True)):
        share = value**2 / energy if gate > 0 and energy > 0 and np.isfinite(energy) else float("nan")
        slot = None if slots is None else slots[i]
        state = states.get(slot, "kept" if gate > 0 else "off")
        found.append(Direction(slot, value, gate, share, state))
    return sorted(found, key=lambda d: (not d.gate > 0, -abs(d.singular_value) if np.isfinite(d.singular_value) else 0))


def arriving(run: Run, record: int, matrix: int) -> int:
    """Return how many new directions the event at this record adds; they have a λ from the next record on."""
    now = _event_at(run, int(run.steps[record]))
    return sum(not is_soft(move) for move in _own(now, "extend", run.matrices[matrix].name))


def _states(run: Run, record: int, matrix: int) -> dict[int | None, str]:
    """Return slot → what the event at the record, or the one before it, did there."""
    name, step = run.matrices[matrix].name, int(run.steps[record])
    before = [event for event in run.events if event["step"] < step]
    states: dict[int | None, str] = {}
    for move in _own(before[-1] if before else None, "extend", name):
        states[move.get("slot")] = "back" if is_soft(move) else "new"
    now = _event_at(run, step)
    for move in _own(now, "extend", name):
        if is_soft(move):
            states[move.get("slot")] = "comes back"
    for move in _own(now, "prune", name):
        states[move.get("slot")] = "goes off" if is_soft(move) else "pruned"
    states.pop(None, None)
    return states


def _event_at(run: Run, step: int) -> dict[str, Any] | None:
    return next((event for event in run.events if event["step"] == step), None)


def _own(event: Mapping[str, Any] | None, key: str, name: str) -> list[dict[str, Any]]:
    return [move for move in event[key] if move["matrix"] == name] if event else []


def move_words(run: Run) -> tuple[str, str]:
    """Return what this run's prunes and extensions are called: a direction that is switched off is not gone."""
    found = []
    for key, hard, soft in (("prune", "pruned", "off"), ("extend", "extended", "back")):
        kinds = {is_soft(move) for event in run.events for move in event[key]}
        both = f"{hard} or {soft}"
        found.append(both if len(kinds) == 2 else soft if kinds == {True} else hard)
    return found[0], found[1]


def true_lines(run: Run, matrix: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the steps (n,) and σ (n,) of every logged true singular value of one matrix's ΔW, scale included.

    Args:
        run: a loaded run.
        matrix: its place in the header.
    """
    columns, offsets = len(run.matrices), run.log.offsets
    steps, values = [np.zeros(0, np.int64)], [np.zeros(0)]
    for record in np.flatnonzero(run.log.true_index >= 0).tolist():
        first = record * columns
        start, stop = run.log.true_index[record] + offsets[[first + matrix, first + matrix + 1]] - offsets[first]
        steps.append(np.full(stop - start, run.steps[record], np.int64))
        values.append(run.log.true_values[start:stop].astype(np.float64))
    return np.concatenate(steps), np.concatenate(values)
