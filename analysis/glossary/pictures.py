"""Tiny pictures of terms, as the numbers that the browser draws (app/player/ui/term_picture.js)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from analysis.budget import budget_curve
from analysis.dynamics import churn_after_events, gross_after_events, net_after_events
from analysis.glossary.moment import Moment
from analysis.metrics import total_rank
from analysis.quantities import defined_entropy

Picture = dict[str, Any]
POINTS = 160
"""Of a line, which is less than 240 pixels wide."""


def bars(moment: Moment, marked: Iterable[int] = ()) -> Picture | None:
    """Return |λ| as bars, largest first, as shares of the largest; ``marked`` ones stand out."""
    return _heights(moment.weights, marked)


def smallest_marked(moment: Moment) -> Picture | None:
    """Return the bars with the smallest one marked: what an event would take."""
    return bars(moment, [len(moment.weights) - 1])


def pairs(moment: Moment) -> Picture | None:
    """Return the singular values of ΔW as bars, and s·|λ| as a line on each."""
    if moment.true_values is None or not len(moment.weights):
        return None
    sigma, lam = moment.true_values[1], moment.weights * (moment.run.scale or 1.0)
    top = max(sigma.max(initial=0.0), lam.max(initial=0.0))
    if not top:
        return None
    note = "bars: σ; lines: s·|λ|, largest first"
    return {"kind": "bars", "note": note, "values": _short(sigma / top), "ticks": _short(lam / top)}


def energy_shares(moment: Moment) -> Picture | None:
    """Return one bar cut into λ²/Σλ²."""
    note = "the share of each direction"
    return {"kind": "shares", "note": note, "values": _short(moment.shares)} if len(moment.shares) else None


def entropies(moment: Moment) -> Picture | None:
    """Return the entropy of every matrix as dots on [0, 1], this one's marked."""
    values = defined_entropy(moment.run)[moment.record]
    known = np.flatnonzero(np.isfinite(values))
    if not len(known):
        return None
    marks = [{"at": float(values[moment.matrix]), "as": "own"}] if moment.entropy is not None else []
    note = "all matrices from 0 to 1; ▲ this one"
    return {"kind": "dots", "note": note, "values": _short(values[known]), "ends": [0.0, 1.0], "marks": marks}


def scores(moment: Moment) -> Picture | None:
    """Return the scores of the latest event as dots: what lost, what gained, and this matrix."""
    event, known = moment.event, {name: value for name, value in moment.scores.items() if value is not None}
    if event is None or not known:
        return None
    marks = [
        {"at": known[move["matrix"]], "as": key}
        for key in ("prune", "extend")
        for move in event[key]
        if move["matrix"] in known
    ]
    if moment.name in known:
        marks.append({"at": known[moment.name], "as": "own"})
    low, high = min(known.values()), max(known.values())
    note = "all matrices from lowest to highest score; ● lost or gained, ▲ this one"
    return {"kind": "dots", "note": note, "values": _short(known.values()), "ends": [low, high], "marks": marks}


def ranks_over_time(moment: Moment) -> Picture:
    """Return the rank of the matrix over time."""
    return _line(moment, "its rank over the run", moment.run.steps, moment.run.ranks[:, moment.matrix])


def total_over_time(moment: Moment) -> Picture:
    """Return the total rank over time."""
    return _line(moment, "over the run", moment.run.steps, total_rank(moment.run))


def budget_over_time(moment: Moment) -> Picture | None:
    """Return b(t) over time; None for a method without one."""
    curve = budget_curve(moment.run)
    steps, values = np.array(list(curve)), np.array(list(curve.values()))
    return _line(moment, "b(t) over the run", steps, values) if curve else None


def moves_over_time(moment: Moment) -> Picture | None:
    """Return gross and net moves after each event; None without events."""
    run = moment.run
    if not run.events:
        return None
    steps = np.array([event["step"] for event in run.events])
    return _line(moment, "gross; dashed: net", steps, gross_after_events(run), net_after_events(run))


def churn_after_each(moment: Moment) -> Picture | None:
    """Return churn after each event, on [0, 1]; None before a first prune."""
    run = moment.run
    values = churn_after_events(run)
    known = np.isfinite(values)
    if not known.any():
        return None
    steps = np.array([event["step"] for event in run.events])[known]
    return _line(moment, "after each event, 0 to 1", steps, values[known], top=1.0)


def _heights(values: np.ndarray, marked: Iterable[int] = ()) -> Picture | None:
    top = values.max(initial=0.0)
    if not len(values):
        return None
    places = [place for place in marked if place >= 0]
    note = "one bar a direction, by |λ|" + ("; the smallest would go first" if places else "")
    return {"kind": "bars", "note": note, "values": _short(values / top if top else values), "marked": places}


def _line(moment: Moment, note: str, steps: np.ndarray, *series: np.ndarray, top: float | None = None) -> Picture:
    """Return series as lines from 0 to their largest value, and where the clock stands, all on [0, 1]."""
    few = np.unique(np.linspace(0, len(steps) - 1, POINTS).astype(np.int64)) if len(steps) else np.zeros(0, np.int64)
    first, last = (float(steps[0]), float(steps[-1])) if len(steps) else (0.0, 0.0)
    span = (last - first) or 1.0
    largest = top or max((float(own.max(initial=0.0)) for own in series), default=0.0) or 1.0
    return {
        "kind": "lines",
        "note": note,
        "at": _short((steps[few] - first) / span),
        "series": [_short(own[few] / largest) for own in series],
        "clock": min(max((moment.step - first) / span, 0.0), 1.0),
    }


def _short(values: Iterable[float]) -> list[float]:
    return [round(float(value), 4) for value in values]
