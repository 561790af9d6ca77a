"""``group_reruns``: which results are runs of one configuration, and a name for each configuration."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.leaderboard.read import Result

TOLD = 3


def group_reruns(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Return name → runs of one configuration, in the given order.

    Runs belong together if they have the same experiment and agree in every setting that both tell: a later version of
    PEFT writes settings that an earlier one did not know. Where an experiment changed its settings under one name, the
    name is followed by what differs.
    """
    experiments: dict[str, list[list[Result]]] = {}
    for result in results:
        groups = experiments.setdefault(result.experiment, [])
        own = next((group for group in groups if all(_agree(result, other) for other in group)), None)
        if own is None:
            groups.append([result])
        else:
            own.append(result)
    return {_name(experiment, group, groups): group for experiment, groups in experiments.items() for group in groups}


def _agree(one: Result, other: Result) -> bool:
    return all(one.settings[key] == other.settings[key] for key in one.settings.keys() & other.settings.keys())


def _name(experiment: str, group: list[Result], groups: list[list[Result]]) -> str:
    if len(groups) == 1:
        return experiment
    own = group[0].settings
    keys = [key for key in own if len({other[0].settings.get(key, own[key]) for other in groups}) > 1]
    told = ", ".join(f"{key} {own[key]}" for key in keys[:TOLD])
    # Two groups may differ in what a third lacks; their first runs tell them apart in any case.
    return f"{experiment} ({told})" if told else f"{experiment} ({group[0].created or group[0].path.name})"
