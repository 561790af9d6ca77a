"""``why_card``: everything that decided about one matrix at one event, ready for JSON."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from typing import Any, TypeAlias

from analysis.runs import Run, event_number
from analysis.why.directions import DirectionEvent, explain_directions
from analysis.why.matrices import MatrixEvent, explain_matrices
from analysis.why.scene import scene

KEPT = 32
"""Explained events that are kept a run: whoever looks at one matrix soon looks at another."""


EventExplanation: TypeAlias = MatrixEvent | DirectionEvent
"""One event explained, all matrices at once."""

_explained: dict[int, OrderedDict[int, EventExplanation | None]] = {}


def why_card(run: Run, step: int, matrix: str) -> dict[str, Any] | None:
    """Return why a matrix fared as it did at the latest event at or before a step.

    Returns:
        ``event`` (from 1) of ``events``, its ``step``, ``at`` (the clock stands on it), ``matrix``, ``label``,
        ``method``, ``measure``, ``verdict``, ``headline``, ``lines``, ``rules``, ``alternatives`` and
        ``alternatives_note`` (why there are none); plain JSON values without NaN. None when no event is at or before
        the step, or its spectra are not in the log.

    Raises:
        ValueError: the run has no such matrix.
    """
    run.place_of(matrix)
    number = event_number(run, step)
    found = why_event(run, number) if number >= 0 else None
    return None if found is None else _card(found, matrix) | {"at": found.at.step == step}


def why_cards(run: Run, event_index: int) -> list[dict[str, Any]]:
    """Return the cards of all M matrices at one event (from 0), in the header's order; empty without its spectra.

    Raises:
        IndexError: there is no such event.
    """
    found = why_event(run, event_index)
    return [] if found is None else [_card(found, name) for name in found.at.names]


def why_event(run: Run, event_index: int) -> EventExplanation | None:
    """Return one event (from 0) explained for all matrices; the latest ones asked for are kept with the run.

    Raises:
        IndexError: there is no such event.
    """
    if not 0 <= event_index < len(run.events):
        raise IndexError(f"event {event_index} of {len(run.events)}: count from 0")
    if id(run) not in _explained:
        _explained[id(run)] = OrderedDict()
        weakref.finalize(run, _explained.pop, id(run), None)
    kept = _explained[id(run)]
    if event_index in kept:
        kept.move_to_end(event_index)
        return kept[event_index]
    at = scene(run, event_index)
    explain = explain_matrices if at is not None and at.method == "flexlora" else explain_directions
    found = kept[event_index] = None if at is None else explain(run, at)
    if len(kept) > KEPT:
        kept.popitem(last=False)
    return found


def _card(found: EventExplanation, name: str) -> dict[str, Any]:
    at = found.at
    return {
        "event": at.number + 1,
        "events": at.events,
        "step": at.step,
        "at": True,
        "matrix": name,
        "label": at.labels[name],
        "method": at.method,
        "measure": at.event["measure"],
        **found.card(name),
    }
