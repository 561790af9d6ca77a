"""Which of several adapters are for one base model, and why the others are not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from analysis.adapters.adapter import Adapter
from analysis.adapters.comparison import aligned, base_key
from analysis.adapters.files import AdapterError

UNNAMED = "naming no base model"
UNLIKE = "without a matrix of the same name and shape"


class OneBase(NamedTuple):
    """Adapters of one base model.

    Attributes:
        base: what it is called; None = no adapter says.
        taken: names of those for it, as they were given.
        left: name of each other → why, as words that follow the name.
    """

    base: str | None
    taken: list[str]
    left: dict[str, str]


def of_one_base(opened: Adapter, others: Mapping[str, Adapter]) -> OneBase:
    """Return the adapters that are for the base model of the open one, or else for the one that most of them name.

    Where the open one names no base model, others that name none are taken, too. One that shares no matrix with the
    open one is left out, unless both name one base model.
    """
    left: dict[str, str] = {name: UNLIKE for name, other in others.items() if not _alike(opened, other)}
    known = {name: other.base_model for name, other in others.items() if name not in left}
    named = Counter(base_key(base) for base in known.values() if base)
    most = next((key for key, _ in named.most_common(1)), None)
    base = opened.base_model or next((own for own in known.values() if own and base_key(own) == most), None)
    allowed = {_key(base), _key(opened.base_model)}
    left |= {name: f"for {own}" if own else UNNAMED for name, own in known.items() if _key(own) not in allowed}
    return OneBase(base, [name for name in others if name not in left], {n: left[n] for n in others if n in left})


def told_left(left: Mapping[str, str]) -> str:
    """Return who was left out and why: "a, b (for X); c (naming no base model)"."""
    groups: dict[str, list[str]] = {}
    for name, why in left.items():
        groups.setdefault(why, []).append(name)
    return "; ".join(f"{', '.join(names)} ({why})" for why, names in groups.items())


def _key(base: str | None) -> str | None:
    return base_key(base) if base else None


def _alike(opened: Adapter, other: Adapter) -> bool:
    if opened.base_model and other.base_model and _key(opened.base_model) != _key(other.base_model):
        # Why it is left out is the base model then.
        return True
    try:
        aligned([opened, other])
    except AdapterError:
        return False
    return True
