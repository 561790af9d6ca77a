"""What a newcomer is told: one sentence about a run, and a tour of five of its moments."""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.glossary.moment import Moment
from analysis.metrics import (
    describe_event,
    final_ranks,
    gross_moves,
    instructive_event,
    last_result,
    matrix_label,
    net_moves,
    total_rank,
)
from analysis.quantities import defined_entropy
from analysis.runs import Run, exact_event, move_counts
from analysis.why.wording import percent
from flexlora.importance import measure_label
from flexlora.methods import METHODS

_FLEXLORA = "flexlora"
_START = "Each cell is a weight matrix with a stack of directions added to it."
_WATCH = "Watch, or turn the stages over with ← and →."

Stop = dict[str, Any]


def introduction(run: Run) -> str:
    """Return what happens in a run, for someone who knows LoRA."""
    name = str(run.header.get("method") or "")
    if name != _FLEXLORA:
        method = METHODS.get(name)
        return f"{_START} {method.title}: {_small(method.summary)}" if method else _START
    lowest, highest = "in which few directions do the work (lowest entropy)", "that use all of theirs"
    if not _by_entropy(run):
        lowest, highest = f"with the lowest {measure_label(_importance(run))}", "with the highest"
    taken, given = f"some matrices {lowest} lose their smallest one", "get a new one, starting at 0"
    direction = run.config.get("direction", "both")
    if direction == "prune_only":
        return f"{_START} At every event {taken}."
    if direction == "extend_only":
        return f"{_START} At every event some matrices {highest} {given}."
    total = f" {int(total_rank(run)[0])}" if len(run.steps) else ""
    return f"{_START} At every event {taken}, and as many {highest} {given}: the total stays{total}."


def tour(run: Run) -> list[Stop]:
    """Return the moments to show, in order: ``title``, ``text``, what to look at (``at``) and what the player shows.

    ``view`` holds names of the player's choices, ``step``, ``matrix`` and ``stage``. What a run cannot show is left
    out, or said in the text.
    """
    if not len(run.steps):
        return []
    step = instructive_event(run)
    shown = int(run.steps[-1]) if step is None else step
    loser, gainer = _moved_matrices(run, step)
    stops = [_map(run)]
    if run.header.get("singular_values") != "unknown":
        stops.append(_spectrum(Moment(run, shown, run.place_of(loser))))
    stops.append(_event(run, step, loser))
    if np.isfinite(defined_entropy(run)).any():
        stops.append(_entropy(run, shown, loser, gainer))
    return [*stops, _result(run)]


def _map(run: Run) -> Stop:
    first, total = run.ranks[0], int(total_rank(run)[0])
    low, high = int(first.min()), int(first.max())
    each = f"each starts with {low}" if low == high else f"they start with {low} to {high}"
    text = (
        "Rows are layers, columns are kinds of matrices. The number in a cell is its rank: how many directions it has. "
        f"There are {len(run.matrices)} matrices; {each}: {total} in all."
    )
    return _stop("The map", text, "map", step=int(run.steps[0]), colour="rank", map="map", side="spectrum")


def _spectrum(at: Moment) -> Stop:
    label = matrix_label(at.run.matrices[at.matrix])
    text = f"The spectrum of {label} at step {at.step}: one bar a direction."
    if len(at.shares) > 1:
        text += f" The largest holds {percent(at.shares[0])} of the energy, the smallest {percent(at.shares[-1])}."
    else:
        text += f" It has {at.rank}."
    return _stop("One spectrum", text, "side", step=at.step, matrix=at.name, map="map", side="spectrum")


def _event(run: Run, step: int | None, matrix: str) -> Stop:
    if step is None:
        why = "Nothing moves in this run: there is no event to show."
        return _stop("An event", why, "map", missing=True, step=int(run.steps[-1]), colour="rank", map="map")
    event = exact_event(run, step) or {}
    pruned, extended = len(event["prune"]), len(event["extend"])
    if run.header.get("method") == _FLEXLORA and pruned and extended:
        text = (
            f"At step {step} every matrix is scored by {measure_label(event['measure'])} and put in order. The "
            f"{pruned} lowest lose their smallest direction; the {extended} highest get an empty one. {_WATCH}"
        )
    else:
        text = f"{describe_event(run, step)} {_WATCH}"
    return _stop("An event", text, "map", step=step, matrix=matrix, colour="rank", map="map", stage="score")


def _entropy(run: Run, step: int, loser: str, gainer: str) -> Stop:
    text = "Entropy says how evenly a matrix's directions share the energy: 1 = all alike, 0 = one does everything."
    told = [
        f"{matrix_label(run.matrices[at.matrix])} has {at.entropy:.2f}{verdict}"
        for at, verdict in (
            (Moment(run, step, run.place_of(name)), word) for name, word in _verdicts(run, step, loser, gainer)
        )
        if at.entropy is not None
    ]
    text += f" Here {', '.join(told)}." if told else ""
    return _stop("Entropy", text, "map", step=step, matrix=loser, colour="entropy", map="map", band="strip")


def _verdicts(run: Run, step: int, loser: str, gainer: str) -> list[tuple[str, str]]:
    if exact_event(run, step) is None:
        return [(loser, "")]
    pruned, extended = move_counts(run, exact_event(run, step))
    verdicts = [(loser, " and loses one")] if pruned[run.place_of(loser)] else []
    return verdicts + ([(gainer, " and gets one")] if extended[run.place_of(gainer)] else [])


def _result(run: Run) -> Stop:
    ranks, totals = final_ranks(run), total_rank(run)
    first, last = int(totals[0]), int(ranks.sum())
    if not run.events:
        moved = f"All {len(run.matrices)} matrices keep their rank." if (run.ranks[0] == ranks).all() else ""
    else:
        events, moves = _counted(len(run.events), "event"), _counted(gross_moves(run), "move")
        stand = f"{net_moves(run):.0f} still stand. Ranks run from {ranks.min()} to {ranks.max()}."
        moved = f"After {events}: {moves}, of which {stand}"
    total = f"The total is still {last}." if last == first else f"The total went from {first} to {last}."
    measured, value = last_result(run.evals)
    reached = (
        f" It reached {measured} {value:.3f}; one run does not say whether that is better than equal ranks."
        if value
        else ""
    )
    colour = "change" if (run.ranks[0] != ranks).any() else "rank"
    view = {"step": int(run.steps[-1]), "colour": colour, "map": "map", "side": "spectrum"}
    return _stop("The result", f"{moved} {total}{reached}".strip(), "map", **view)


def _moved_matrices(run: Run, step: int | None) -> tuple[str, str]:
    """Return a matrix that lost and one that gained at an event; the first matrix where there is none."""
    event = None if step is None else exact_event(run, step)
    halves = [[move["matrix"] for move in event[half]] if event else [] for half in ("prune", "extend")]
    anyone = (halves[0] or halves[1] or [run.matrices[0].name])[0]
    return (halves[0] or [anyone])[0], (halves[1] or [anyone])[0]


def _stop(title: str, text: str, at: str, *, missing: bool = False, **view: Any) -> Stop:
    return {"title": title, "text": text, "at": at, "missing": missing, "view": view}


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _importance(run: Run) -> str:
    return str(run.config.get("importance", "spectral_entropy"))


def _by_entropy(run: Run) -> bool:
    return _importance(run) == "spectral_entropy"


def _small(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]
