"""Lesson 2: one event from the scores to the new ranks, with its close decisions."""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.directions import directions_at
from analysis.glossary.moment import Moment
from analysis.lessons.material import RUN, Material
from analysis.lessons.words import decimals, ends_of, percent, sentence, signed
from analysis.metrics import active_parameters, matrix_label
from analysis.runs import Run, exact_event
from analysis.stages import Stages, stages_of
from analysis.why import why_card
from analysis.why.wording import standing


def facts(lab: Material) -> dict[str, Any]:
    """Return the numbers of the lesson."""
    run = lab.run(RUN)
    step, low, _ = ends_of(run)
    event, stages = exact_event(run, step), stages_of(run, step)
    assert event and stages
    labels = {m.name: matrix_label(m) for m in run.matrices}
    pruned, extended = ([move["matrix"] for move in event[half]] for half in ("prune", "extend"))
    score = dict(zip(run.places, stages.score.tolist(), strict=True))
    at, move = Moment(run, step, run.place_of(low)), event["prune"][0]
    values = sorted((d.singular_value for d in directions_at(run, at.record, at.matrix)), key=abs, reverse=True)
    cost = {m.name: m.in_features + m.out_features + 1 for m in run.matrices}
    before, after = (int(active_parameters(run)[record]) for record in (at.record, at.record + 1))
    close = _closest(run, step, pruned)
    return {
        "run": RUN,
        "step": step,
        "before": int(run.steps[at.record - 1]),
        "after": int(run.steps[at.record + 1]),
        "matrices": len(run.matrices),
        "budget": int(event["budget"]),
        "total": int(run.ranks[at.record].sum()),
        "kept": len(run.matrices) - len(pruned) - len(extended),
        "more": int(run.ranks[at.record].sum()) + len(extended),
        "total_after": int(run.ranks[at.record + 1].sum()),
        "pruned": pruned,
        "pruned_count": len(pruned),
        "extended": extended,
        "extended_count": len(extended),
        "score_told": _told(run, at.record - 1, stages, labels),
        "rank_ones": int((run.ranks[at.record] == 1).sum()),
        "lowest": decimals(sorted(score.values())[:3], 3),
        "take_limit": score[pruned[-1]],
        "give_limit": score[extended[-1]],
        "low": low,
        "low_label": labels[low],
        "low_rank": at.rank,
        "low_entropy": score[low],
        "values": [signed(value, 4) for value in values],
        "gone": signed(move["singular_value"], 4),
        "gone_size": f"{abs(move['singular_value']):.4f}",
        "gone_share": percent(move["singular_value"] ** 2 / float(np.square(at.weights).sum())),
        "signed_lowest": signed(min(values), 4),
        "largest_value": signed(values[0], 4),
        "small_cost": min(cost.values()),
        "large_cost": max(cost.values()),
        "parameters_before": before,
        "parameters_after": after,
        "parameters_change": f"{after - before:+,}".replace("-", "−"),
        "new_label": labels[extended[0]],
        "new": extended[0],
        "grown": min(_new_size(run, at.record + 1, name) for name in extended),
        **close,
        **_closeness(run, step, [*pruned, *extended]),
    }


def _new_size(run: Run, record: int, matrix: str) -> float:
    """The largest |λ| that the event before a record gave a matrix."""
    found = directions_at(run, record, run.place_of(matrix))
    return max(abs(own.singular_value) for own in found if own.state == "new")


def _told(run: Run, record: int, stages: Stages, labels: dict[str, str]) -> dict[str, str]:
    """What is said of each matrix that might be picked as the next to lose: its entropy on the map and at the event."""

    def placed(order: float) -> str:
        return standing(int(order), "lowest", len(labels))

    return {
        name: f"{sentence(labels[name])} has entropy {run.entropy[record, place]:.3f} on this map and "
        f"{stages.score[place]:.3f} one step later: {placed(stages.order[place])}."
        for name, place in run.places.items()
    }


def _closest(run: Run, step: int, pruned: list[str]) -> dict[str, Any]:
    """The last matrix that lost one: its margin to the next, and how far scores move anyway."""
    card = why_card(run, step, pruned[-1])
    assert card is not None
    line = {each["key"]: each for each in card["lines"]}
    ratio = line["ratio"]["value"]
    return {
        "close": pruned[-1],
        "close_label": card["label"],
        "close_score": line["importance"]["value"],
        "close_margin": line["margin"]["value"],
        "close_noise": line["noise"]["value"],
        "close_ratio": ratio,
        "close_verdict": line["ratio"]["text"].rpartition(": ")[2],
        "clear_margin": _value(run, step, pruned[0], "margin"),
        "clear_ratio": _value(run, step, pruned[0], "ratio"),
    }


def _closeness(run: Run, step: int, moved: list[str]) -> dict[str, Any]:
    """How many decisions of an event had a margin below the noise of the score."""
    cards = [why_card(run, step, name) for name in moved]
    lines = [line for card in cards if card is not None for line in card["lines"]]
    ratios = [float(line["value"]) for line in lines if line["key"] == "ratio" and line["value"] is not None]
    return {"judged": len(ratios), "undecided": sum(ratio < 1 for ratio in ratios)}


def _value(run: Run, step: int, matrix: str, key: str) -> float:
    card = why_card(run, step, matrix)
    assert card is not None
    return float(next(line["value"] for line in card["lines"] if line["key"] == key))
