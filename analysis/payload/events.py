"""The events of a run in few bytes: moves and importances as arrays, what is rare as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from analysis.payload.codes import float32
from analysis.payload.container import Rows
from analysis.runs import Run

_HEAVY = ("scores", "decided", "importance", "prune", "extend", "refused")
"""Keys that are sent in another shape, or not at all: each direction's score."""
NOTHING = 65535


class PackedEvents(NamedTuple):
    """Parts of the header, and arrays.

    Attributes:
        header: ``events`` (what is short), ``moveRules`` (lists of rules that moves refer to), ``moveExtras`` (place of
            a move, and what does not fit the arrays).
        arrays: ``moveCounts`` (pruned, extended, one pair an event), ``moveMatrix``, ``moveSlot``, ``moveValue`` (λ),
            ``moveScore``, ``moveRule``; one an event's move, pruned first.
        importance: (events, matrices) float64 of the measure that decided, NaN where undefined; None without any.
    """

    header: dict[str, Any]
    arrays: dict[str, Rows]
    importance: np.ndarray | None


def pack_events(run: Run) -> PackedEvents:
    """Return the events of a run, in order."""
    places = run.places
    moves = [move for event in run.events for key in ("prune", "extend") for move in event[key]]
    rules: dict[tuple[str, ...], int] = {(): 0}
    extras: list[tuple[int, dict[str, Any]]] = []
    columns = {name: np.full(len(moves), NOTHING, np.uint16) for name in ("moveMatrix", "moveSlot", "moveRule")}
    numbers = {name: np.full(len(moves), np.nan) for name in ("moveValue", "moveScore")}
    for number, move in enumerate(moves):
        rest = dict(move)
        matrix, slot, own = places.get(str(rest.get("matrix"))), rest.get("slot"), rest.get("rules")
        if matrix is not None and matrix < NOTHING:
            columns["moveMatrix"][number] = matrix
            del rest["matrix"]
        if isinstance(slot, int) and 0 <= slot < NOTHING:
            columns["moveSlot"][number] = slot
            del rest["slot"]
        if isinstance(own, list) and all(isinstance(rule, str) for rule in own) and len(rules) < NOTHING:
            columns["moveRule"][number] = rules.setdefault(tuple(own), len(rules))
            del rest["rules"]
        for key, name in (("singular_value", "moveValue"), ("score", "moveScore")):
            if isinstance(rest.get(key), int | float) or (key in rest and rest[key] is None):
                value = rest.pop(key)
                numbers[name][number] = np.nan if value is None else value
        if rest:
            extras.append((number, rest))
    counts = [(len(event["prune"]), len(event["extend"])) for event in run.events]
    known = {name: float32(values) for name, values in numbers.items() if np.isfinite(values).any()}
    arrays = {
        "moveCounts": Rows("event", np.array(counts, np.uint32).reshape(-1, 2)),
        **{name: Rows("move", values) for name, values in (columns | known).items()},
    }
    header = {
        "events": Rows("event", [_short(event, places) for event in run.events]),
        "moveRules": Rows("rule", [list(rule) for rule in rules]),
        "moveExtras": Rows("extra", extras),
    }
    return PackedEvents(header, arrays, _importance(run, places))


def _short(event: Mapping[str, Any], places: Mapping[str, int]) -> dict[str, Any]:
    """Return an event without what is long; refusals become reason → matrices, replaced importances value, matrices."""
    own = {key: value for key, value in event.items() if key not in _HEAVY}
    refused: dict[str, list[int]] = {}
    for name, reason in event.get("refused", {}).items():
        if name in places:
            refused.setdefault(str(reason), []).append(places[name])
    decided: dict[Any, list[int]] = {}
    for name, value in (event.get("decided") or {}).items():
        if name in places:
            decided.setdefault(value, []).append(places[name])
    return {
        **own,
        **({"refused": refused} if refused else {}),
        **({"decided": [list(pair) for pair in decided.items()]} if decided else {}),
    }


def _importance(run: Run, places: Mapping[str, int]) -> np.ndarray | None:
    found = np.full((len(run.events), len(places)), np.nan)
    for row, event in enumerate(run.events):
        scores = event["importance"].get(event["measure"], {})
        if scores:
            # The reader gives every measure in the header's order.
            found[row] = [np.nan if value is None else value for value in scores.values()]
    return found if np.isfinite(found).any() else None
