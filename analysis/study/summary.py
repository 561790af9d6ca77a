"""``check_summary``: what ``study.json`` must say for a table to be compared."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

TEXTS = ("task", "cell", "reference", "metric")


def check_summary(summary: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Raise ``ValueError`` that names what is wrong in the content of ``study.json``, given the rows of the table."""
    if not isinstance(summary, Mapping):
        raise ValueError("study.json holds no mapping")
    _is(summary, "name", isinstance(summary.get("name"), str))
    seeds = summary.get("seeds")
    _is(summary, "seeds", isinstance(seeds, list) and all(type(seed) is int for seed in seeds))
    margin = summary.get("margin")
    _is(summary, "margin", margin is None or (_number(margin) and 0 < margin < math.inf))
    equal = summary.get("equal")
    _is(summary, "equal", isinstance(equal, Mapping) and isinstance(equal.get("note"), str))
    assert isinstance(equal, Mapping)
    _is(equal, "unit", isinstance(equal.get("unit"), str))
    _is(equal, "held", isinstance(equal.get("held"), bool))
    _is(equal, "tolerance", equal.get("tolerance") is None or _number(equal["tolerance"]))
    tuned = summary.get("tuned")
    _is(summary, "tuned", tuned is None or (isinstance(tuned, Mapping) and type(tuned.get("trials")) is int))
    groups = summary.get("groups")
    _is(summary, "groups", isinstance(groups, list) and bool(groups))
    for group in groups or ():
        _is(summary, "groups", isinstance(group, Mapping))
        for key in TEXTS:
            _is(group, key, isinstance(group.get(key), str))
        _is(group, "lower_is_better", isinstance(group.get("lower_is_better"), bool))
        known = {row["variant"] for row in rows if (row["task"], row["cell"]) == (group["task"], group["cell"])}
        own = group.get("variants")
        _is(group, "variants", isinstance(own, list) and bool(own) and known.issuperset(own))
        _is(group, "reference", group["reference"] in (own or ()))


def _is(content: Mapping[str, Any], key: str, right: bool) -> None:
    if not right:
        raise ValueError(f"{key} of study.json is {str(content.get(key))[:60]}")


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
