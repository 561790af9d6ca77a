"""Settings as dataclass fields: what a value may be, how text becomes one, and what to say when it cannot."""

from __future__ import annotations

import difflib
import json
import math
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import Field, field
from functools import partial
from typing import Any, NamedTuple

from flexlora.errors import FlexLoRAError


def option(
    default: Any,
    help: str,
    *,
    choices: Iterable[str] = (),
    live: bool = False,
    least: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> Any:
    """Return a dataclass field that knows what it may hold.

    Args:
        default: as in ``dataclasses.field``.
        help: one sentence for people.
        choices: the allowed names; empty = any. Where they are records with a formula, people are told it.
        live: True when it may change while training.
        least: smallest number allowed.
        above: the number must be larger than this.
        below: the number must be smaller than this.
    """
    records: Mapping[str, Any] = choices if isinstance(choices, Mapping) else {}
    metadata = {
        "help": help,
        "choices": tuple(choices),
        "formulas": {key: found.formula for key, found in records.items() if hasattr(found, "formula")},
        "live": live,
        "least": least,
        "above": above,
        "below": below,
    }
    return field(default=default, metadata=metadata)


def full_help(item: Field[Any]) -> str:
    """Return the help of a field in Markdown, with the formula of each choice that has one."""
    told = [f"- {key}: {formula}" for key, formula in item.metadata["formulas"].items()]
    return "\n".join([item.metadata["help"], *([""] if told else []), *told])


def checked(item: Field[Any], value: Any) -> Any:
    """Return the value in the field's own type.

    Raises:
        FlexLoRAError: a wrong type, a name that is not among the choices, or a number out of range.
    """
    if value is None and "None" in _types(item):
        return None
    kind = _KINDS[_types(item)[0]]
    try:
        value = kind.convert(value)
    except (TypeError, ValueError, OverflowError):
        raise FlexLoRAError(f"{item.name}={value!r} is not {kind.words}.{_none_hint(item)}") from None
    choices, least, above, below = (item.metadata.get(key) for key in ("choices", "least", "above", "below"))
    if choices and value not in choices:
        close = difflib.get_close_matches(str(value), choices, 1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise FlexLoRAError(f"Unknown {item.name} {value!r}.{hint} Choose one of: {', '.join(choices)}.")
    if least is not None and value < least:
        raise FlexLoRAError(f"{item.name}={value} must be at least {least}.{_none_hint(item)}")
    if above is not None and value <= above:
        raise FlexLoRAError(f"{item.name}={value} must be above {above}.{_none_hint(item)}")
    if below is not None and value >= below:
        raise FlexLoRAError(f"{item.name}={value} must be below {below}.{_none_hint(item)}")
    return value


def parse_setting(cls: type, key: str, text: str) -> Any:
    """Turn text as typed on a command line into the type of a dataclass field.

    Args:
        cls: a dataclass; its fields may carry ``choices``, ``least``, ``above`` and ``below`` in their metadata.
        key: name of the field.
        text: ``none``, ``true``, ``4``, ``1e-3``, ``query,value``, or JSON for a list of points.

    Returns:
        The value; whether it fits together with the other settings is checked when the object is built.

    Raises:
        FlexLoRAError: an unknown key, with the close ones and all of them, or text that is no such value.
    """
    items: Mapping[str, Field[Any]] = cls.__dataclass_fields__
    if key not in items:
        raise FlexLoRAError(unknown_key(key, items))
    item, text = items[key], text.strip()
    kinds = _types(item)
    if text.lower() in ("none", "null") and (kinds[0] != "str" or "None" in kinds):
        if "None" in kinds or item.default is None:
            return None
        raise FlexLoRAError(f"{key} cannot be none: it must be {_KINDS[kinds[0]].words}.")
    return checked(item, _KINDS[kinds[0]].read(item, text))


_RANK = ("r", "initial_rank", "max_rank")
ALSO_CALLED: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("rank", "ranks", "lora_r", "lora_rank", "init_r", "start_rank"), _RANK),
    "r": ("initial_rank",),
    "lora_alpha": ("alpha",),
    "target_r": ("target_rank",),
    "max_r": ("max_rank",),
    "tinit": ("warmup_steps",),
    "tfinal": ("final_steps",),
    "deltat": ("interval",),
    "steps": ("total_steps",),
    "max_steps": ("total_steps",),
    "total_step": ("total_steps",),
    "lr": ("learning_rate",),
    "budget": ("initial_budget",),
    "targets": ("target_modules",),
}
"""Another name of a setting, in lower case → what it is called here, wherever one of them exists."""


def unknown_key(key: str, known: Iterable[str]) -> str:
    """Return the message for a setting that does not exist: close names first, then all of them."""
    known = list(known)
    return f"Unknown setting {key!r}.{did_you_mean(key, known)} Settings: {', '.join(sorted(known))}."


def did_you_mean(key: str, known: Iterable[str]) -> str:
    """Return the names close to one that does not exist, as a sentence after a space; empty where none is close.

    What other packages call it comes first. Names of a letter or two are close to too many to be meant by chance.
    """
    names = dict.fromkeys(known)
    close = [name for name in ALSO_CALLED.get(key.lower(), ()) if name in names]
    close = close or difflib.get_close_matches(key, [name for name in names if len(name) > 2], 3)
    return f" Did you mean {' or '.join(close)}?" if close else ""


def _types(item: Field[Any]) -> list[str]:
    # The dataclasses that use this module have postponed annotations, so a type is its source text.
    return [part.strip() for part in str(item.type).split("|")]


def _none_hint(item: Field[Any]) -> str:
    return " Leave it out for the default." if "None" in _types(item) or item.default is None else ""


def _integer(value: Any) -> int:
    if isinstance(value, bool):
        raise TypeError
    return operator.index(value)


def _number(value: Any) -> float:
    if isinstance(value, bool | str):
        raise TypeError
    value = float(value)
    if not math.isfinite(value):
        raise ValueError
    return value


def _exactly(kind: type, value: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError
    return value


def _names(value: Any) -> tuple[str, ...]:
    names = tuple(_exactly(str, name).strip() for name in (value.split(",") if isinstance(value, str) else value))
    if not names or not all(names):
        raise ValueError
    return names


def _whole_numbers(value: Any) -> tuple[int, ...]:
    numbers = tuple(_integer(number) for number in value)
    if not numbers or min(numbers) < 0:
        raise ValueError
    return numbers


def _points(value: Any) -> tuple[tuple[int, float], ...]:
    points = tuple((_integer(step), _number(budget)) for step, budget in value)
    steps = [step for step, _ in points]
    if steps != sorted(set(steps)) or any(step < 0 or budget < 0 for step, budget in points):
        raise ValueError
    return points


def _read_number(item: Field[Any], text: str) -> int | float:
    try:
        return int(text) if _types(item)[0] == "int" else float(text)
    except ValueError:
        raise FlexLoRAError(f"{item.name}={text!r} is not {_KINDS[_types(item)[0]].words}.{_none_hint(item)}") from None


def _read_flag(item: Field[Any], text: str) -> bool:
    flags = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() not in flags:
        raise FlexLoRAError(f"{item.name}={text!r} is not true or false.")
    return flags[text.lower()]


def _read_numbers(item: Field[Any], text: str) -> list[int]:
    try:
        return [int(part) for part in text.strip("[]() ").split(",")]
    except ValueError:
        raise FlexLoRAError(f"{item.name}={text!r} is not {_KINDS[_types(item)[0]].words}.") from None


def _read_json(item: Field[Any], text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise FlexLoRAError(f"{item.name}={text!r} is not {_KINDS[_types(item)[0]].words}.") from None


class _Kind(NamedTuple):
    """A type of fields: what people call its values, how one is checked, and how one is read from text."""

    words: str
    convert: Callable[[Any], Any]
    read: Callable[[Field[Any], str], Any] = lambda item, text: text


_KINDS = {
    "int": _Kind("a whole number", _integer, _read_number),
    "float": _Kind("a finite number", _number, _read_number),
    "str": _Kind("a name", partial(_exactly, str)),
    "bool": _Kind("true or false", partial(_exactly, bool), _read_flag),
    "tuple[str, ...]": _Kind("a list of names such as query,value", _names),
    "tuple[int, ...]": _Kind("a list of whole numbers such as 2,4,8, none negative", _whole_numbers, _read_numbers),
    "tuple[tuple[int, float], ...]": _Kind(
        "a list of [step, budget] pairs such as [[10, 8], [100, 0]]: steps rising, nothing negative",
        _points,
        _read_json,
    ),
}
