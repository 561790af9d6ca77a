"""Numbers about a run: pure functions of its arrays."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analysis.dynamics import churn_after_events, gross_after_events
from analysis.quantities import entropy_gaps, record_of
from analysis.runs import Matrix, Run, event_number, exact_event
from flexlora import budgets
from flexlora.importance import measure_label
from flexlora.matrix_names import place_label
from flexlora.tally import describe_moves

GAP_LIMIT = 0.02
"""Above this median |I(λ) − I(σ)|, λ is no spectrum of ΔW and its entropy says little (docs/fidelity.md)."""

SPLITS = ("test", "validation")
"""The splits whose result is told, the first that there is."""


def total_rank(run: Run) -> np.ndarray:
    """Return the number of active directions in each record, (T,)."""
    return run.ranks.sum(axis=1)


def active_parameters(run: Run) -> np.ndarray:
    """Return the parameters of the active directions in each record, (T,): r · (in + out + 1) a matrix."""
    return run.ranks @ budgets.direction_costs(run.log)


def final_parameters(run: Run) -> int:
    """Return the parameters of the directions that are active after everything that was logged."""
    return budgets.final_parameters(run.log)


def final_ranks(run: Run) -> np.ndarray:
    """Return the ranks after everything that was logged, (M,): a last event counts though no record follows it."""
    return budgets.ranks_after(list(run.places), run.steps, run.ranks, run.events)


def gross_moves(run: Run) -> int:
    """Return how many directions were pruned or extended, whichever is more: a pair counts once."""
    return int(gross_after_events(run)[-1]) if run.events else 0


def net_moves(run: Run) -> float:
    """Return how many directions the matrices gained or lost in the end, whichever is more: a pair counts once."""
    if not len(run.steps):
        return 0.0
    change = final_ranks(run) - run.ranks[0]
    return float(max(change[change > 0].sum(), -change[change < 0].sum()))


def net_share(run: Run) -> float:
    """Return net moves as a share of the initial total rank."""
    return net_moves(run) / float(run.ranks[0].sum()) if len(run.steps) else 0.0


def churn(run: Run, within: int = 1) -> float:
    """Return the share of prunes that remove a direction added in the last ``within`` events; NaN without prunes."""
    values = churn_after_events(run, within)
    return float(values[-1]) if len(values) else float("nan")


def spectrum_gap(run: Run) -> np.ndarray:
    """Return the median over matrices of |I(λ) − I(σ)| for each record that has true singular values, (K,).

    NaN where neither is defined in any matrix, as before the first step.
    """
    steps, difference = entropy_gaps(run)
    defined = np.isfinite(difference).any(axis=1)
    gap = np.full(len(steps), np.nan)
    if defined.any():
        gap[defined] = np.nanmedian(difference[defined], axis=1)
    return gap


def instructive_event(run: Run) -> int | None:
    """Return the step of the event to look at first, or None when nothing was moved.

    The one with the largest product of directions moved and of rank that stood elsewhere than at the start: a falling
    schedule moves most at its first event, when there is nothing to see yet. Among equals the earliest.
    """

    def interest(event: dict[str, Any]) -> float:
        displaced = np.abs(run.ranks[record_of(run, event["step"])] - run.ranks[0]).sum() if len(run.steps) else 0
        return (len(event["prune"]) + len(event["extend"])) * (1.0 + float(displaced))

    moved = [event for event in run.events if event["prune"] or event["extend"]]
    return int(max(moved, key=interest)["step"]) if moved else None


def parked_step(run: Run) -> int:
    """Return the step that a run is shown at when nobody asks for another: the event to look at first, or the end."""
    parked = instructive_event(run)
    if parked is not None:
        return parked
    return int(run.steps[-1]) if len(run.steps) else 0


def first_matrix(run: Run, step: int | None = None) -> str | None:
    """Return the matrix to look at first.

    Of those that gained at the event at ``step``, else of those that lost, it is the one that goes on so the furthest,
    by its rank at the end: a matrix that gains and soon loses again explains little.

    None as step = the event to look at first; None is returned for a run without matrices.
    """
    shown = instructive_event(run) if step is None else step
    event = None if shown is None else exact_event(run, shown)
    if event and (event["extend"] or event["prune"]) and len(run.steps):
        sign = 1 if event["extend"] else -1
        gained = sign * (run.ranks[-1] - run.ranks[record_of(run, event["step"])])
        named = [str(move["matrix"]) for move in event["extend"] or event["prune"]]
        places = {matrix.name: place for place, matrix in enumerate(run.matrices)}
        return max(named, key=lambda name: gained[places[name]] if name in places else -np.inf)
    return run.matrices[0].name if run.matrices else None


def matrix_label(matrix: Matrix) -> str:
    """Return a short name: "layer 3 ffn_out"."""
    return place_label(matrix.layer, matrix.module_type)


def describe_event(run: Run, step: int) -> str:
    """Return one sentence about the event at ``step``, computed from the log.

    Raises:
        ValueError: there is no event at this step.
    """
    event = exact_event(run, step)
    if event is None:
        raise ValueError(f"no event at step {step}")
    pruned, extended = event["prune"], event["extend"]
    start = f"Event {event_number(run, step) + 1} of {len(run.events)}, step {step}: "
    if not pruned and not extended:
        return (
            f"{start}nothing moved ({_why_nothing(event)}). Total rank stays {_rank_at(run, step)}.{_adaptive(event)}"
        )
    parts = [
        _describe_move(run, event, moves, change, extreme)
        for moves, change, extreme in ((pruned, -1, "lowest"), (extended, 1, "highest"))
        if moves
    ]
    total = _rank_at(run, step) - len(pruned) + len(extended)
    anew = " Then training began anew." if "restarted" in event["rules"] else ""
    moves = re.sub("^layer ", "Layer ", "; ".join(parts))
    return f"{start}{_amount(event)}. {moves}. Total rank {total}.{anew}{_adaptive(event)}"


def _adaptive(event: dict[str, Any]) -> str:
    """Say why the adaptive schedule chose the budget of an event; empty under any other schedule."""
    own = event.get("adaptive")
    if not own:
        return ""
    if own["noise"] is None:
        return " Adaptive: no event before it, so it only measures the noise."
    told = (
        f" Adaptive: {event['budget']} of at most {own['ceiling']} pairs stand out of the noise (σ {own['noise']:.3f}"
    )
    if own["gaps"] and own["thresholds"]:
        told += f"; the first has gap {own['gaps'][0]:.2f}, {own['thresholds'][0]:.2f} is needed"
    undone = "" if own["undone"] is None else f"; {own['undone']:.0%} of the prunes before it took back"
    return f"{told}{undone})."


def _amount(event: dict[str, Any]) -> str:
    pruned, extended = len(event["prune"]), len(event["extend"])
    if {"masked", "revived"} & set(event["rules"]):
        told = [f"{pruned} switched off"] * bool(pruned) + [f"{extended} came back"] * bool(extended)
        return ", ".join(told)
    if pruned == extended:
        return describe_moves(pruned, extended)
    return f"{pruned} pruned, {extended} extended"


def last_result(evals: Sequence[Mapping[str, Any]]) -> tuple[str, float | None]:
    """Return what was measured last, such as "test accuracy", and how much; empty and None without an evaluation.

    On the test split rather than another; of its metrics that which ``_shown_first`` puts first.
    """
    for split in (*SPLITS, *dict.fromkeys(str(record.get("split")) for record in evals)):
        for record in reversed(evals):
            found = record.get("metrics") if record.get("split") == split else None
            known = {name: value for name, value in (found or {}).items() if isinstance(value, int | float)}
            for name in sorted(known, key=_shown_first):
                return f"{split} {name}", float(known[name])
    return "", None


def _shown_first(metric: str) -> int:
    """Return the place of a metric: accuracy, any other, the loss, and last what counts and does not judge."""
    if _COUNTS.fullmatch(metric):
        return 3
    return {"accuracy": 0, "loss": 2}.get(metric, 1)


_COUNTS = re.compile(r"(.*_)?(len|length|lengths|samples|tokens|count|num|steps|time|seconds)")
"""Metrics such as the length of what was generated."""


def evaluation_series(run: Run) -> tuple[str, str, np.ndarray, np.ndarray] | None:
    """Return split, metric, steps (n,) int64 and values (n,) of what is drawn over time; None without an evaluation.

    The validation split, else the first; its first metric, another than the loss where there is one that says how good
    the model is.
    """
    splits = [record.get("split") for record in run.evals]
    if not splits:
        return None
    split = "validation" if "validation" in splits else splits[0]
    own = [record for record in run.evals if record.get("split") == split]
    metric = min(own[0]["metrics"], key=lambda name: max(1, _shown_first(name)), default=None)
    if metric is None:
        return None
    points = [(record["step"], record["metrics"].get(metric)) for record in own]
    known = [(step, value) for step, value in points if isinstance(value, int | float) and np.isfinite(value)]
    steps, values = np.array(known, np.float64).reshape(-1, 2).T
    return str(split), metric, steps.astype(np.int64), values


def told_state(state: str, notes: Sequence[Mapping[str, Any]]) -> str:
    """Return what people call the state of a run: one that is ``running`` may be ``paused``."""
    pauses = [note["kind"] for note in notes if note["kind"] in ("paused", "resumed", "resumed_from")]
    return "paused" if state == "running" and pauses[-1:] == ["paused"] else state


def describe_run(run: Run) -> str:
    """Return one line about a whole run: what it is, how far it got, what it reached, what moved."""
    header = run.header
    method, preset, task = (header.get(key) for key in ("method", "preset", "task"))
    parts = [f"{method or 'run'} ({preset or 'no preset'}) on {task or 'a task'}"]
    last = int(run.steps[-1]) if len(run.steps) else 0
    parts.append(f"{told_state(run.state, run.notes)}, step {last} of {run.total_steps}")
    measured, result = last_result(run.evals)
    if result is not None:
        parts.append(f"{measured} {result:.3f}")
    kept = [note for note in run.notes if note["kind"] == "best_model_loaded" and {"best_step", "ranks"} <= note.keys()]
    if kept:
        parts.append(f"the adapter of step {kept[-1]['best_step']} was kept, of rank {sum(kept[-1]['ranks'])} in all")
    if run.events:
        parts.append(_describe_moves(run))
    elif header.get("singular_values") == "unknown" and len(run.steps):
        parts.append(f"ranks only, from elsewhere: {net_moves(run):.0f} directions stand elsewhere than at the start")
    gap = spectrum_gap(run)
    if len(gap) and gap[-1] > GAP_LIMIT:
        parts.append(f"λ is not a spectrum here: gap I(λ)−I(σ) {gap[-1]:.3f}")
    return " · ".join(parts)


def _describe_moves(run: Run) -> str:
    pruned = sum(len(event["prune"]) for event in run.events)
    extended = sum(len(event["extend"]) for event in run.events)
    if pruned == extended:
        return f"{gross_moves(run)} directions moved, {net_moves(run):.0f} net ({net_share(run):.0%} of all rank)"
    first, last = int(run.ranks[0].sum()) if len(run.steps) else 0, int(final_ranks(run).sum())
    return f"total rank {first} → {last}: {pruned} directions taken, {extended} given"


def _describe_move(run: Run, event: dict[str, Any], moves: list[dict[str, Any]], change: int, extreme: str) -> str:
    """Say what happened to the matrix of the first move, with its score: the direction's own, else the matrix's."""
    move = moves[0]
    index = run.places[move["matrix"]]
    score = move.get("score", event["importance"].get(event["measure"], {}).get(move["matrix"]))
    told = "undefined" if score is None else f"{score:.2f}" if score == 0 or abs(score) >= 0.01 else f"{score:.1e}"
    rank = int(run.ranks[record_of(run, event["step"]), index])
    after = rank + change * sum(other["matrix"] == move["matrix"] for other in moves)
    # Whether a direction is off or gone is said once, for the whole event.
    rules = [rule for rule in move["rules"] if rule not in ("masked", "revived")]
    if rules:
        extreme = f"{extreme}, rule {' and '.join(rules)}"
    return f"{matrix_label(run.matrices[index])} {rank} → {after} ({measure_label(event['measure'])} {told}, {extreme})"


def _why_nothing(event: dict[str, Any]) -> str:
    if event.get("target_rank") is not None and not event["budget"]:
        return "total rank is at its target"
    if event.get("scores") is not None:
        return "no direction changed sides"
    if not event["budget"]:
        return "b(t) is 0"
    return "rules: " + ", ".join(event["rules"]) if event["rules"] else "no matrix qualified"


def _rank_at(run: Run, step: int) -> int:
    return int(run.ranks[record_of(run, step)].sum()) if len(run.steps) else 0
