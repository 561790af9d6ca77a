"""The events of a run in few bytes: moves, scores and what they add up to as arrays, what is rare as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from analysis.dynamics import churn_after_events, gross_after_events, net_after_events
from analysis.payload.codes import float32
from analysis.payload.container import Rows
from analysis.runs import Run
from analysis.stages import Stages, event_stages, standing_out

_HEAVY = ("scores", "decided", "importance", "prune", "extend", "refused")
"""Keys that are sent in another shape, or not at all: each direction's score."""
NOTHING = 65535


class PackedEvents(NamedTuple):
    """Parts of the header, and arrays.

    Attributes:
        header: ``events`` (what is short), ``moveRules`` (lists of rules that moves refer to), ``moveExtras`` (place of
            a move, and what does not fit the arrays).
        arrays: ``moveCounts`` (pruned, extended, one pair an event), ``moveMatrix``, ``moveSlot``, ``moveValue`` (λ),
            ``moveScore``, ``moveRule``; one an event's move, pruned first. ``order``: one a matrix and event, 1 more
            than ``Stages.order``, 0 = undefined. ``gross``, ``net``, ``churn``: after each event.
        scores: (events, matrices) float64, ``Stages.score``: inf = above all, NaN = undefined; None without any.
    """

    header: dict[str, Any]
    arrays: dict[str, Rows]
    scores: np.ndarray | None


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
        **{name: Rows("move", _narrow(values)) for name, values in columns.items()},
        **{name: Rows("move", values) for name, values in known.items()},
    }
    stages = [event_stages(run, event) for event in run.events]
    shape = (len(stages), len(run.matrices))
    scores, order = (np.array([getattr(own, key) for own in stages]).reshape(shape) for key in ("score", "order"))
    arrays |= {
        "order": Rows("event", np.nan_to_num(order + 1).astype(np.uint8 if shape[1] < 254 else np.uint16)),
        "gross": Rows("event", gross_after_events(run).astype(np.uint32)),
        "net": Rows("event", net_after_events(run).astype(np.uint32)),
        "churn": Rows("event", float32(churn_after_events(run))),
    }
    header = {
        "events": Rows("event", [_short(run, *own) for own in zip(run.events, stages, strict=True)]),
        "moveRules": Rows("rule", [list(rule) for rule in rules]),
        "moveExtras": Rows("extra", extras),
    }
    return PackedEvents(header, arrays, scores if np.isfinite(scores).any() else None)


def _narrow(codes: np.ndarray) -> np.ndarray:
    """Return codes of which the largest is ``NOTHING`` as uint8, with 255 in its place, where the others are less."""
    least = np.where(codes == NOTHING, 255, codes)
    return least.astype(np.uint8) if codes[codes < NOTHING].max(initial=0) < 255 else codes


def _short(run: Run, event: Mapping[str, Any], stages: Stages) -> dict[str, Any]:
    """Return an event without what is long, and places of the few matrices that stand apart.

    ``refused`` becomes reason → matrices; ``first`` stand above all, ``low`` and ``high`` at an end without having
    moved.
    """
    own = {key: value for key, value in event.items() if key not in _HEAVY}
    refused: dict[str, list[int]] = {}
    for name, reason in event.get("refused", {}).items():
        if name in run.places:
            refused.setdefault(str(reason), []).append(run.places[name])
    low, high = standing_out(stages, event, str(run.config.get("direction", "both")))
    marks = {"first": np.isinf(stages.score), "low": low & (stages.pruned == 0), "high": high & (stages.extended == 0)}
    own |= {name: np.flatnonzero(places).tolist() for name, places in marks.items() if places.any()}
    return own | ({"refused": refused} if refused else {}) | ({"byDirection": True} if stages.by_direction else {})
