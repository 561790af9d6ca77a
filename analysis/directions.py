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


class Stay(NamedTuple):
    """A direction from where its slot was filled to where it was emptied.

    Attributes:
        slot: where it is stored.
        steps: (n,) of the records that hold it.
        values: (n,) λ as trained, signed.
        gates: (n,) 0 = off, else the share of training steps that use it.
    """

    slot: int
    steps: np.ndarray
    values: np.ndarray
    gates: np.ndarray


def direction_stays(run: Run, matrix: int) -> list[Stay]:
    """Return the stays of all directions of a matrix, given by its place in the header, in the order they begin."""
    name = run.matrices[matrix].name
    own = run.spectra_of(name)
    gates = np.ones(len(own.values)) if own.gates is None else own.gates
    active = set(range(int(run.stored[0, matrix]))) if len(run.steps) else set()
    pending = iter(run.events)
    event = next(pending, None)
    open_stays: dict[int, list[tuple[int, float, float]]] = {}
    done: list[tuple[int, list[tuple[int, float, float]]]] = []
    for record, step in enumerate(run.steps.tolist()):
        while event is not None and event["step"] < step:
            emptied, filled = _slot_changes(event, name)
            done.extend((slot, open_stays.pop(slot)) for slot in emptied if slot in open_stays)
            active = active - emptied | filled
            event = next(pending, None)
        here = slice(own.offsets[record], own.offsets[record + 1])
        if own.offsets[record + 1] - own.offsets[record] == len(active):
            for slot, value, gate in zip(sorted(active), own.values[here].tolist(), gates[here].tolist(), strict=True):
                open_stays.setdefault(slot, []).append((step, value, gate))
    done.extend(open_stays.items())
    stays = sorted(((slot, np.array(points)) for slot, points in done), key=lambda s: (s[1][0, 0], s[0]))
    return [Stay(slot, *points.T) for slot, points in stays]


def _slot_changes(event: Mapping[str, Any], name: str) -> tuple[set[int], set[int]]:
    """Return the slots of a matrix that an event empties, and those that it fills afterwards; −1 = not logged."""
    emptied, filled = (
        {move.get("slot", -1) for move in _own(event, half, name) if not is_soft(move)} for half in ("prune", "extend")
    )
    return emptied, filled


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
        emptied, filled = _slot_changes(event, name)
        active = active - emptied | filled
    return sorted(active) if len(active) == run.stored[record, matrix] and -1 not in active else None


def directions_at(run: Run, record: int, matrix: int) -> list[Direction]:
    """Return the directions of a matrix: those that are on first, largest |λ| first.

    Args:
        run: a loaded run.
        record: a spectrum record.
        matrix: its place in the header.
    """
    found = run.log.spectra.record(record)
    own = slice(*found.offsets[matrix : matrix + 2].tolist())
    values = found.values[own].astype(np.float64)
    gates = np.ones(len(values)) if found.all_gates is None else found.all_gates[own].astype(np.float64)
    energy = float(run.energy[record, matrix])
    states = _states(run, record, matrix)
    slots = slots_at(run, record, matrix)
    directions = []
    for i, (value, gate) in enumerate(zip(values.tolist(), gates.tolist(), strict=True)):
        share = value**2 / energy if gate > 0 and energy > 0 and np.isfinite(energy) else float("nan")
        slot = None if slots is None else slots[i]
        state = states.get(slot, "kept" if gate > 0 else "off")
        directions.append(Direction(slot, value, gate, share, state))
    return sorted(
        directions, key=lambda d: (not d.gate > 0, -abs(d.singular_value) if np.isfinite(d.singular_value) else 0)
    )


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
    own = run.spectra_of(run.matrices[matrix].name)
    return np.repeat(run.true_entropy[0], np.diff(own.true_offsets)), own.true_values.astype(np.float64)
