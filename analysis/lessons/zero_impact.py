"""Lesson 3: what an event leaves as it was, and what it does not."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from analysis.directions import directions_at
from analysis.lessons.material import RUN, Material
from analysis.lessons.words import ends_of, percent
from analysis.metrics import matrix_label
from analysis.runs import Run, exact_event
from analysis.why.wording import ordinal
from flexlora.importance import spectral_entropy

AROUND = 5
RANKS = range(2, 17)
ADAM_EPSILON = 1e-8
"""What AdamW adds to the size that it divides by, as torch has it unless told otherwise."""


def facts(lab: Material) -> dict[str, Any]:
    """Return the numbers of the lesson."""
    run = lab.run(RUN)
    step, _, _ = ends_of(run)
    event = exact_event(run, step)
    assert event is not None
    place = run.place_of(event["extend"][0]["matrix"])
    matrix, rank = run.matrices[place], int(run.ranks[run.record_at(step), place])
    return {
        "run": RUN,
        "step": step,
        "after": int(run.steps[run.record_at(step) + 1]),
        "new": matrix.name,
        "new_label": matrix_label(matrix),
        "new_count": len(event["extend"]),
        "new_rank": rank,
        "new_rank_after": rank + 1,
        "output_change": _extended_output((matrix.out_features, matrix.in_features, rank), run.scale or 1.0),
        **_loss(run, step),
        **_taken(run, step),
        **_regularizer(run),
        **_fallen(run),
        **_first_step(run, step),
        "factors": [_factor(rank) for rank in RANKS],
        "factor_two": math.log(2) / math.log(3),
        "factor_eight": math.log(8) / math.log(9),
    }


def _extended_output(shape: tuple[int, int, int], scale: float) -> float:
    """Return the largest change of (s · P diag(λ) Q) x when a direction with λ = 0 joins, over drawn P, λ, Q, x."""
    draw, (rows, columns, rank) = np.random.default_rng(0), shape
    p, q = draw.normal(0, rows**-0.5, (rows, rank)), draw.normal(0, columns**-0.5, (rank, columns))
    values, x = draw.normal(size=rank), draw.normal(size=columns)
    before = scale * (p @ (values * (q @ x)))
    new_p, new_q = draw.normal(0, rows**-0.5, rows), draw.normal(0, columns**-0.5, columns)
    return float(np.abs(before + scale * new_p * (0.0 * (new_q @ x)) - before).max())


def _loss(run: Run, step: int) -> dict[str, Any]:
    """The loss around an event, and how much it changes from step to step at events and between them."""
    steps, loss = run.metrics["task_loss"]
    change = np.abs(np.diff(loss))
    moved = {event["step"] for event in run.events if event["prune"] or event["extend"]}
    inside = (steps[:-1] >= min(moved)) & (steps[:-1] <= max(moved))
    at = np.isin(steps[:-1], list(moved))
    near = np.flatnonzero((steps >= step - AROUND) & (steps <= step + AROUND))
    # The loss of step t is measured before the event of step t: an event shows in that of t + 1.
    return {
        "loss_steps": steps[near].tolist(),
        "first_step": int(steps[near[0]]),
        "last_step": int(steps[near[-1]]),
        "loss_values": loss[near].tolist(),
        "loss_first": float(loss[near[0]]),
        "loss_top": math.ceil(10 * float(loss[near].max())) / 10 + 0.1,
        "jump_at_events": float(np.median(change[at])),
        "jump_elsewhere": float(np.median(change[inside & ~at])),
        "events_moved": len(moved),
        "events_still": len(run.events) - len(moved),
        "loss_jump": float(change[np.flatnonzero(steps == step)[0]]),
        "steps_elsewhere": int((inside & ~at).sum()),
    }


def _taken(run: Run, step: int) -> dict[str, Any]:
    """What the prunes of an event, and of all events, take of ‖ΔW‖² of their matrices, P and Q orthonormal."""
    shares = {
        (event["step"], move["matrix"]): _share(run, event["step"], move)
        for event in run.events
        for move in event["prune"]
    }
    moved = [event["step"] for event in run.events if event["prune"] or event["extend"]]
    own = {matrix: share for (at, matrix), share in shares.items() if at == step}
    (worst_step, worst), most = max(shares.items(), key=lambda pair: pair[1])
    largest = {event: max(share for (at, _), share in shares.items() if at == event) for event, _ in shares}
    return {
        "largest_bars": list(largest.values()),
        "largest_labels": [str(at) for at in largest],
        "largest_top": most * 1.15,
        "taken_most": percent(max(own.values())),
        "taken_least": percent(min(own.values())),
        "taken_least_value": min(own.values()),
        "worst_step": worst_step,
        "worst_event": f"the {ordinal(1 + sum(at < worst_step for at in moved))}",
        "worst_rank": len(run.singular_values(worst_step)[worst]),
        "worst_label": matrix_label(run.matrices[run.place_of(worst)]),
        "worst_share": percent(most),
        "worst_value": most,
        "taken_bars": sorted(own.values(), reverse=True),
        "taken_labels": [
            matrix_label(run.matrices[run.place_of(name)]) for name in sorted(own, key=lambda name: -own[name])
        ],
        "taken_top": max(own.values()) * 1.15,
    }


def _share(run: Run, step: int, move: dict[str, Any]) -> float:
    values = run.singular_values(step)[move["matrix"]].astype(np.float64)
    return float(move["singular_value"] ** 2 / np.square(values).sum())


def _regularizer(run: Run) -> dict[str, Any]:
    """The regulariser before and after the first event, beside the largest change of a step before."""
    first = next(event["step"] for event in run.events if event["extend"])
    steps, values = run.metrics["regularizer"]
    here = int(np.flatnonzero(steps == first)[0])
    low = here + 1 + int(values[here + 1 : here + AROUND + 1].argmin())
    last = int(steps[here + AROUND])
    return {
        "first_event": first,
        "reg_before": float(values[here]),
        "reg_after": float(values[here + 1]),
        "reg_change": float(values[here + 1] - values[here]),
        "reg_last": float(values[here + AROUND]),
        "reg_last_step": last,
        "reg_low": float(values[low]),
        "reg_low_step": int(steps[low]),
        "reg_events_between": sum(first < event["step"] < last for event in run.events),
        "reg_weight": float(run.config["regularization_weight"]),
        "reg_usual": float(np.abs(np.diff(values[here - AROUND : here + 1])).max()),
        "reg_steps": steps[here - AROUND : here + AROUND + 1].tolist(),
        "reg_values": values[here - AROUND : here + AROUND + 1].tolist(),
        "reg_top": float(values[here - AROUND : here + AROUND + 1].max()) * 1.1,
    }


def _fallen(run: Run) -> dict[str, Any]:
    """The extended matrix whose entropy fell most to the next record, and how many fell."""
    found = []
    for event in run.events:
        record = run.record_at(event["step"])
        for move in event["extend"]:
            place = run.place_of(move["matrix"])
            found.append((run.entropy[record + 1, place] - run.entropy[record, place], record, place))
    _, record, place = min(found)
    rank, before = int(run.ranks[record, place]), float(run.entropy[record, place])
    values = run.singular_values(int(run.steps[record]))[run.matrices[place].name]
    at_once = spectral_entropy(np.append(values, 0.0))
    assert at_once is not None
    return {
        "fall_step": int(run.steps[record]),
        "fall_next": int(run.steps[record + 1]),
        "fall": run.matrices[place].name,
        "fall_label": matrix_label(run.matrices[place]),
        "fall_rank": rank,
        "fall_rank_after": rank + 1,
        "fall_before": before,
        "fall_at_once": float(at_once),
        "fall_logged": float(run.entropy[record + 1, place]),
        "fall_factor": math.log(rank) / math.log(rank + 1),
        "fall_rank_ones": int((run.ranks[record] == 1).sum()),
        "rank_one": str(run.config["rank_one"]),
        "extensions": len(found),
        "extensions_fell": sum(change < 0 for change, _, _ in found),
    }


def _first_step(run: Run, step: int) -> dict[str, Any]:
    """|λ| of the directions that an event gave, one record later, beside the learning rate of that step."""
    event = exact_event(run, step)
    assert event is not None
    record = run.record_at(step)
    steps, rates = run.metrics["learning_rate"]
    rate = float(rates[np.flatnonzero(steps == run.steps[record + 1])[0]])
    sizes = [
        abs(direction.singular_value)
        for move in event["extend"]
        for direction in directions_at(run, record + 1, run.place_of(move["matrix"]))
        if direction.state == "new"
    ]
    least = int(np.argmin(sizes))
    others = np.concatenate([np.abs(own) for own in run.singular_values(int(run.steps[record + 1])).values()])
    return {
        "rate": rate,
        "new_sizes": sizes,
        "new_labels": [matrix_label(run.matrices[run.place_of(move["matrix"])]) for move in event["extend"]],
        "new_top": rate * 1.25,
        "new_smallest": min(sizes),
        "short_label": matrix_label(run.matrices[run.place_of(event["extend"][least]["matrix"])]),
        "short_gradient": ADAM_EPSILON * sizes[least] / (rate - sizes[least]),
        "next_smallest": sorted(sizes)[1],
        "new_largest": max(sizes),
        "typical_size": float(np.median(others)),
    }


def _factor(rank: int) -> dict[str, Any]:
    factor = math.log(rank) / math.log(rank + 1)
    flat = spectral_entropy(np.append(np.ones(rank), 0.0)) or 0.0
    return {
        "value": rank,
        "label": f"rank {rank} → {rank + 1}, the new λ = 0",
        "bars": [*(1.0 for _ in range(rank)), 0.0],
        "numbers": [["entropy before", "1.00"], ["after", f"{flat:.2f}"], ["ln r / ln (r + 1)", f"{factor:.2f}"]],
    }
