"""The directions of one matrix: where each is stored, how long it stays, what an event did to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from analysis.runs import Run, exact_event


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


class SlotStays(NamedTuple):
    """When which slots hold a direction, each array (n,) int64; those that no record shows are left out.

    Attributes:
        matrix: its place in the header.
        slot: where the direction is stored; −1 = not logged.
        after: step of the event that filled it; −1 = there from the start.
        until: step of the event that emptied it; ``OPEN`` = it is still there.
    """

    matrix: np.ndarray
    slot: np.ndarray
    after: np.ndarray
    until: np.ndarray


OPEN = 2**31 - 1


def slot_stays(run: Run) -> SlotStays:
    """Replay the events; a direction that goes off and comes back stays in its slot."""
    first = run.stored[0].tolist() if len(run.steps) else []
    open_stays = [dict.fromkeys(range(count), -1) for count in first]
    rows: list[tuple[int, int, int, int]] = []
    for event in run.events if open_stays else []:
        for key in ("prune", "extend"):
            for move in event[key]:
                place = run.places.get(move["matrix"])
                if place is None or is_soft(move):
                    continue
                slot = move.get("slot", -1)
                if key == "extend":
                    open_stays[place].setdefault(slot, event["step"])
                elif slot in open_stays[place]:
                    rows.append((place, slot, open_stays[place].pop(slot), event["step"]))
    rows += [(place, slot, after, OPEN) for place, own in enumerate(open_stays) for slot, after in own.items()]
    found = np.array(rows, np.int64).reshape(-1, 4).T
    starts, ends = np.searchsorted(run.steps, found[2:], side="right")
    return SlotStays(*found[:, starts < ends])


def direction_stays(run: Run, matrix: int) -> list[Stay]:
    """Return the stays of all directions of a matrix, given by its place in the header, in the order they begin.

    Records whose stored directions are others than the events tell are left out.
    """
    own = run.spectra_of(run.matrices[matrix].name)
    gates = np.ones(len(own.values)) if own.gates is None else own.gates
    slots, here = _cover(run, matrix)
    matching = here.sum(axis=0) == np.diff(own.offsets)
    places = own.offsets[:-1] + np.cumsum(here, axis=0) - 1
    stays = []
    for slot, covered, place in zip(slots.tolist(), here & matching, places, strict=True):
        if covered.any():
            values = [array[place[covered]].astype(np.float64) for array in (own.values, gates)]
            stays.append(Stay(slot, run.steps[covered], *values))
    return sorted(stays, key=lambda stay: (stay.steps[0], stay.slot))


def _cover(run: Run, matrix: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the slot of each stay of a matrix, ascending, (n,), and in which records it is there, (n, T) bool."""
    stays = slot_stays(run)
    own = np.flatnonzero(stays.matrix == matrix)
    own = own[np.argsort(stays.slot[own], kind="stable")]
    here = (stays.after[own, None] < run.steps) & (run.steps <= stays.until[own, None])
    return stays.slot[own], here


def is_soft(move: Mapping[str, Any]) -> bool:
    """Return True for a move that switches a direction off or on and leaves it stored."""
    return not {"masked", "revived"}.isdisjoint(move.get("rules") or ())


def directions_at(run: Run, record: int, matrix: int) -> list[Direction]:
    """Return the directions of a matrix, given by its place in the header, at a spectrum record.

    Those that are on come first, the largest |λ| first.
    """
    found = run.log.spectra.record(record)
    own = slice(*found.offsets[matrix : matrix + 2].tolist())
    values = found.values[own].astype(np.float64)
    gates = np.ones(len(values)) if found.all_gates is None else found.all_gates[own].astype(np.float64)
    energy = float(run.energy[record, matrix])
    states = _states(run, record, matrix)
    stays, here = _cover(run, matrix)
    known: list[int] = stays[here[:, record]].tolist()
    # Otherwise the log does not say: an imported one, or one with a gap.
    slots = known if len(known) == run.stored[record, matrix] and -1 not in known else None
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
    now = exact_event(run, int(run.steps[record]))
    return sum(not is_soft(move) for move in _own(now, "extend", run.matrices[matrix].name))


def _states(run: Run, record: int, matrix: int) -> dict[int | None, str]:
    """Return slot → what the event at the record, or the one before it, did there."""
    name, step = run.matrices[matrix].name, int(run.steps[record])
    before = [event for event in run.events if event["step"] < step]
    states: dict[int | None, str] = {}
    for move in _own(before[-1] if before else None, "extend", name):
        states[move.get("slot")] = "back" if is_soft(move) else "new"
    now = exact_event(run, step)
    for move in _own(now, "extend", name):
        if is_soft(move):
            states[move.get("slot")] = "comes back"
    for move in _own(now, "prune", name):
        states[move.get("slot")] = "goes off" if is_soft(move) else "pruned"
    states.pop(None, None)
    return states


def _own(event: Mapping[str, Any] | None, key: str, name: str) -> list[dict[str, Any]]:
    return [move for move in event[key] if move["matrix"] == name] if event else []


def moves_of(run: Run, half: str, name: str) -> list[tuple[int, dict[str, Any]]]:
    """Return (step, move) of a matrix over the run; half = ``prune`` or ``extend``."""
    return [(event["step"], move) for event in run.events for move in _own(event, half, name)]


def move_words(run: Run) -> tuple[str, str]:
    """Return what this run's prunes and extensions are called: a direction that is switched off is not gone."""
    found, gated = [], run.log.spectra.digest.gated
    for key, hard, soft in (("prune", "pruned", "off"), ("extend", "extended", "back")):
        kinds = {is_soft(move) for event in run.events for move in event[key]}
        both = f"{hard} or {soft}"
        switched = kinds == {True} or (gated and not kinds)
        found.append(both if len(kinds) == 2 else soft if switched else hard)
    return found[0], found[1]


def true_lines(run: Run, matrix: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the steps (n,) and σ (n,) of every logged true singular value of one matrix's ΔW, scale included.

    Args:
        run: a loaded run.
        matrix: its place in the header.
    """
    own = run.spectra_of(run.matrices[matrix].name)
    return np.repeat(run.true_entropy[0], np.diff(own.true_offsets)), own.true_values.astype(np.float64)


def slots_at(run: Run, record: int) -> np.ndarray:
    """Return the slot of each stored direction of a record, matrix by matrix, (n,) int64; −1 = the log does not say."""
    stays, step, counts = slot_stays(run), run.steps[record], run.stored[record]
    here = (stays.after < step) & (step <= stays.until)
    matrix, slot = stays.matrix[here], stays.slot[here]
    known = np.bincount(matrix, minlength=len(counts)) == counts
    known &= np.bincount(matrix[slot < 0], minlength=len(counts)) == 0
    found = np.full(int(counts.sum()), -1, np.int64)
    order = np.lexsort((slot, matrix))
    found[np.repeat(known, counts)] = slot[order][known[matrix[order]]]
    return found
