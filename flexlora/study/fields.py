"""Checked access to what a study file says: each mistake is told with the place it is at and what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from flexlora.errors import FlexLoRAError
from flexlora.job import ALL_OPTIONS, LOOP_OPTIONS

OWN_SETTINGS = ("rank", "steps", "preset")
"""Settings of a study beside the options: ``rank`` is a matrix's rank in the end, whatever the method calls it."""


def setting_names() -> list[str]:
    """Return every name that a setting or an axis may have."""
    options = {*LOOP_OPTIONS, *ALL_OPTIONS} - {"seed", "total_steps"}
    return [*OWN_SETTINGS, *sorted(options)]


def mapping(value: Any, where: str, allowed: Iterable[str], *, required: Iterable[str] = ()) -> dict[str, Any]:
    """Return a mapping whose keys are all known.

    Raises:
        FlexLoRAError: no mapping, an unknown key, or one that is missing.
    """
    allowed = list(allowed)
    if not isinstance(value, Mapping):
        raise FlexLoRAError(f"{where} is {shown(value)}; it must be a mapping with {', '.join(allowed)}.")
    for key in value:
        if key not in allowed:
            raise FlexLoRAError(f"{where} has an unknown key {key!r}.{_hint(key, allowed)} Keys: {', '.join(allowed)}.")
    for key in required:
        if key not in value:
            raise FlexLoRAError(f"{where} has no {key}.")
    return dict(value)


def settings(value: Any, where: str) -> dict[str, Any]:
    """Return option → value; whether the values fit is checked when the jobs are built."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise FlexLoRAError(f"{where} is {shown(value)}; it must be a mapping such as {{initial_rank: 4}}.")
    known = setting_names()
    for key, item in value.items():
        if key not in known:
            raise FlexLoRAError(f"{where} has an unknown option {key!r}.{_hint(key, known)} {_listed(known)}")
        if isinstance(item, Mapping):
            raise FlexLoRAError(f"{where}: {key} is {shown(item)}; an option takes one value.")
    return dict(value)


def text(value: Any, where: str) -> str:
    """Return one line of text.

    Raises:
        FlexLoRAError: anything else.
    """
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise FlexLoRAError(f"{where} is {shown(value)}; it must be one line of text.")
    return value.strip()


def whole(value: Any, where: str, least: int) -> int:
    """Return a whole number of at least ``least``."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise FlexLoRAError(f"{where} is {shown(value)}; it must be a whole number of at least {least}.")
    return value


def number(value: Any, where: str, *, above: float | None = None, least: float | None = None) -> float:
    """Return a finite number within its limits."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise FlexLoRAError(f"{where} is {shown(value)}; it must be a number.")
    if above is not None and value <= above:
        raise FlexLoRAError(f"{where} is {value}; it must be above {above:g}.")
    if least is not None and value < least:
        raise FlexLoRAError(f"{where} is {value}; it must be at least {least:g}.")
    return float(value)


def entries(value: Any, where: str) -> list[Any]:
    """Return a list that is not empty; one text counts as a list of one."""
    found = [value] if isinstance(value, str | Mapping) else value
    if not isinstance(found, list) or not found:
        raise FlexLoRAError(f"{where} is {shown(value)}; it must be a list of at least one.")
    return found


def no_repeats(names: Iterable[Any], where: str) -> None:
    """Raise when a name stands there twice."""
    seen: set[Any] = set()
    for name in names:
        if name in seen:
            raise FlexLoRAError(f"{where} has {name!r} twice.")
        seen.add(name)


def unknown_axis(key: str) -> FlexLoRAError:
    """Return what to say of an axis with a list of values that is no option."""
    known = setting_names()
    return FlexLoRAError(
        f"Unknown axis {key!r}.{_hint(key, known)} An axis is an option with a list of values, or a name of your own "
        f"with {{label: {{option: value}}}}. {_listed(known)}"
    )


def shown(value: Any) -> str:
    """Return a value as a person wrote it, cut short."""
    told = repr(value)
    return told if len(told) <= 60 else told[:57] + "..."


def _hint(key: Any, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(key), list(known), 2)
    return f" Did you mean {' or '.join(close)}?" if close else ""


def _listed(known: Iterable[str]) -> str:
    return f"Options: {', '.join(known)}."
