"""What every other measure would have done at the same event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from analysis.runs import Run
from analysis.what_if import WhatIfError, own_settings, replay_event
from analysis.what_if.replay import Settings
from analysis.why.ranking import HIGHEST, LOWEST, in_order
from analysis.why.scene import Scene
from flexlora.config import FlexLoRAConfig
from flexlora.decision import tie_order
from flexlora.importance import IMPORTANCES, SCORED_BY_LAMBDA, measure_label

NO_SPECTRUM = "The spectrum of this step is not in the log, so no other measure can be tried on it."


@dataclass(frozen=True)
class Alternative:
    """The decision of one measure at one event.

    Attributes:
        measure: its key.
        scores: name → importance; empty when the measure was not logged.
        position: name → place from 0, lowest first; undefined matrices have none.
        prune: who would have been pruned.
        extend: who would have been extended.
        budget: b under this measure; None when it was not logged.
    """

    measure: str
    scores: dict[str, float | None]
    position: dict[str, int]
    prune: frozenset[str] = frozenset()
    extend: frozenset[str] = frozenset()
    budget: int | None = None


def alternatives(run: Run, at: Scene) -> tuple[list[Alternative], str]:
    """Return one decision a measure, the run's own among them, or none and why not.

    Everything but the measure is as it was: the rules, the budget (unless the schedule asks the importance) and what
    happened before. Measures that λ alone gives are taken from λ where the event did not log them.
    """
    if at.lam is None:
        return [], NO_SPECTRUM
    try:
        settings = own_settings(run)
        return [_alternative(run, at, settings, key) for key in IMPORTANCES], ""
    except WhatIfError as error:
        return [], str(error)


def _alternative(run: Run, at: Scene, settings: Settings, key: str) -> Alternative:
    logged = at.event["importance"].get(key)
    if logged is None and key not in SCORED_BY_LAMBDA:
        return Alternative(key, {}, {})
    decision = replay_event(run, _measured_by(settings, key), at.number)
    if logged is None:
        logged = {name: IMPORTANCES[key](values) for name, values in (at.lam or {}).items()}
    order = in_order(decision.importance, tie_order(at.names, at.step, settings(at.step)))
    return Alternative(
        key,
        {name: logged.get(name) for name in at.names},
        {name: place for place, name in enumerate(order)},
        frozenset(decision.plan.prune),
        frozenset(decision.plan.extend),
        decision.budget,
    )


def _measured_by(settings: Settings, key: str) -> Settings:
    made: dict[int, FlexLoRAConfig] = {}

    def chosen(step: int) -> FlexLoRAConfig:
        own = settings(step)
        if id(own) not in made:
            made[id(own)] = cast(FlexLoRAConfig, own.replace(importance=key, policy=None))
        return made[id(own)]

    return chosen


def alternative_rows(found: list[Alternative], at: Scene, name: str) -> list[dict[str, Any]]:
    """Return one row a measure: its score, its place and its decision about one matrix, and whether the run agrees."""
    pruned, extended = name in at.moved("prune"), name in at.moved("extend")
    return [_row(each, at, name, (pruned, extended)) for each in found]


def _row(each: Alternative, at: Scene, name: str, actual: tuple[bool, bool]) -> dict[str, Any]:
    own = each.measure == at.event["measure"]
    row = {
        "measure": each.measure,
        "label": measure_label(each.measure),
        "own": own,
        "score": each.scores.get(name),
        "place": None,
        "end": None,
        "of": len(each.position),
        "budget": each.budget,
        "verdict": "not logged",
        "agrees": False,
    }
    if each.budget is None:
        return row | {"of": None}
    would = name in each.prune, name in each.extend
    row["verdict"] = VERDICTS[would]
    row["agrees"] = would == actual
    if name not in each.position:
        return row | {"verdict": "undefined"}
    low, high = each.position[name] + 1, len(each.position) - each.position[name]
    return row | {"place": min(low, high), "end": LOWEST if low <= high else HIGHEST}


VERDICTS = {(True, False): "prune", (False, True): "extend", (True, True): "both", (False, False): "stay"}
"""(Pruned, extended) → what a row says."""
