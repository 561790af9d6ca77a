"""``config_differences``: what two configurations do not share, and which of it only follows from something else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from flexlora.errors import FlexLoRAError
from flexlora.job import LOOP_OPTIONS, build_job
from flexlora.methods import METHODS
from flexlora.tasks import TASKS
from flexlora.tasks.source import SOURCE_OPTIONS

PLACE = ("task", "method", "preset", "total_steps", "seed")
"""What a job is made from beside its options."""
BOOKKEEPING = frozenset(
    {
        *("device", "threads", "eval_interval", "eval_samples", "log_measures", "spectrum_interval"),
        *("checkpoint_interval_s", "save_adapter", "evaluate_test"),
    }
)
"""Options that change what is written down, or where it is computed, and nothing that is learned."""


class Missing:
    """Stands for an option that a configuration does not have."""

    def __repr__(self) -> str:
        return "–"


MISSING = Missing()


class ConfigDifference(NamedTuple):
    """One option that two configurations do not share.

    Attributes:
        option: its name.
        left: its value in the first; ``MISSING`` where that has no such option.
        right: its value in the second.
        follows: options from whose difference this one follows; empty where somebody chose it.
    """

    option: str
    left: Any
    right: Any
    follows: tuple[str, ...]


def config_differences(left: Mapping[str, Any], right: Mapping[str, Any]) -> list[ConfigDifference]:
    """Return the options in which two flat configurations (``header["config"]``) differ: first what was chosen.

    An option follows from others where both configurations, made anew without it, have it as it is: alpha = 2 ·
    initial_rank follows from a rank, what a preset governs from the preset. Where this version cannot make a
    configuration anew, as with one from elsewhere, nothing is said to follow.
    """
    keys = [*left, *(key for key in right if key not in left)]
    pairs = {key: (left.get(key, MISSING), right.get(key, MISSING)) for key in keys}
    apart = {key: pair for key, pair in pairs.items() if not _same(*pair)}
    found = [ConfigDifference(key, *pair, _follows(key, left, right, list(apart))) for key, pair in apart.items()]
    return sorted(found, key=lambda one: bool(one.follows))


def chosen_differences(left: Mapping[str, Any], right: Mapping[str, Any]) -> list[ConfigDifference]:
    """Return only what somebody chose and what bears on learning: neither seed nor ``BOOKKEEPING``."""
    kept = [{key: own[key] for key in own if key != "seed" and key not in BOOKKEEPING} for own in (left, right)]
    return [one for one in config_differences(*kept) if not one.follows]


def _follows(key: str, left: Mapping[str, Any], right: Mapping[str, Any], apart: list[str]) -> tuple[str, ...]:
    if key in PLACE[:2]:
        return ()
    if key == "preset" and left.get("method") != right.get("method"):
        return ("method",)
    if (key in left) != (key in right):
        return ("method",) if "method" in apart else ()
    if key in PLACE or not all(_same(_made(own, key), own[key]) for own in (left, right)):
        return ()
    others = [other for other in apart if other != key]
    single = [other for other in others if _same(_made(_moved(left, right, other), key), right[key])]
    return tuple(single or others)


def _moved(left: Mapping[str, Any], right: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {**left, key: right.get(key)}


def _made(flat: Mapping[str, Any], without: str) -> Any:
    """Return what an option would be where nobody sets it; ``MISSING`` where no job can be made."""
    method = str(flat.get("method"))
    if method not in METHODS:
        return MISSING
    # What an embedded task brings itself it takes from nobody.
    brought = SOURCE_OPTIONS if flat.get("task") in TASKS else ()
    known = {*LOOP_OPTIONS, *METHODS[method].options} - {without, *PLACE, *brought}
    settings = {key: value for key, value in flat.items() if key in known and value is not None}
    try:
        job = build_job(
            str(flat.get("task")), method, flat.get("preset"), flat.get("total_steps"), flat.get("seed") or 0, settings
        )
    except (FlexLoRAError, TypeError, KeyError):
        return MISSING
    return job.to_dict().get(without, MISSING)


def _same(one: Any, other: Any) -> bool:
    """A log holds lists where a job has tuples; true is not 1."""
    return isinstance(one, bool) == isinstance(other, bool) and _plain(one) == _plain(other)


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
