"""Copy and paste of a schedule: JSON or YAML, read with care. Torch-free."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping
from typing import Any

import yaml

from flexlora.config import FlexLoRAConfig
from flexlora.errors import FlexLoRAError
from flexlora.schedules import CONFIGURABLE, OPTIONS
from flexlora.settings import checked

KEYS = ("schedule", "initial_budget", "warmup_steps", "final_steps", "interval", *OPTIONS)
"""Options that make a schedule."""

MAX_TEXT = 100_000
MAX_BUDGET = 1_000_000
MAX_STEP = 10_000_000
MAX_DEPTH = 20
"""PyYAML scans open brackets in quadratic time: 90,000 of them took it 43 s."""

_REFUSED = (yaml.AliasToken, yaml.AnchorToken, yaml.TagToken)
_OPENING = (
    yaml.BlockSequenceStartToken,
    yaml.BlockMappingStartToken,
    yaml.FlowSequenceStartToken,
    yaml.FlowMappingStartToken,
)
_CLOSING = (yaml.BlockEndToken, yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken)


def schedule_settings(config: FlexLoRAConfig) -> dict[str, Any]:
    """Return the options of a schedule as plain values, only those that it has."""
    found, own = config.to_dict(), CONFIGURABLE[config.schedule].options
    return {key: found[key] for key in KEYS if key not in OPTIONS or key in own}


def _to_json(settings: Mapping[str, Any]) -> str:
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in settings.items()]
    return "{\n" + ",\n".join(lines) + "\n}"


def _to_yaml(settings: Mapping[str, Any]) -> str:
    return "\n".join(
        f"{key}: {_flow(value)}" if isinstance(value, list) else yaml.safe_dump({key: value}).rstrip()
        for key, value in settings.items()
    )


def _flow(value: list[Any]) -> str:
    # Not JSON: its 1e-05 is text in YAML 1.1, which wants 1.0e-05.
    return yaml.safe_dump(value, default_flow_style=True, width=MAX_TEXT).rstrip()


STYLES: dict[str, Callable[[Mapping[str, Any]], str]] = {"json": _to_json, "yaml": _to_yaml}
"""Style → f(settings) → text."""


def format_schedule(config: FlexLoRAConfig, style: str = "json") -> str:
    """Return a schedule as text that ``parse_schedule`` reads back.

    Raises:
        FlexLoRAError: an unknown style.
    """
    if style not in STYLES:
        raise FlexLoRAError(f"Unknown style {style!r}. Choose one of: {', '.join(STYLES)}.")
    return STYLES[style](schedule_settings(config))


def parse_schedule(text: str) -> dict[str, Any]:
    """Read options of a schedule from JSON or YAML; whether they fit a run is for its configuration to say.

    A bare list of [step, budget] pairs is taken as the knots of schedule ``points``.

    Raises:
        FlexLoRAError: one line that names the option, what was got and what is allowed.
    """
    found = _read(text)
    if isinstance(found, list):
        found = {"schedule": "points", "points": found}
    if not isinstance(found, dict):
        raise FlexLoRAError(f'A schedule is a mapping such as {{"schedule": "cubic"}}, not {_shown(found)}.')
    if not found:
        raise FlexLoRAError(f"The schedule is empty. Give at least one of: {', '.join(KEYS)}.")
    items = FlexLoRAConfig.__dataclass_fields__
    parsed = {}
    for key, value in found.items():
        if key not in KEYS:
            close = difflib.get_close_matches(key, KEYS, 1) if isinstance(key, str) else []
            hint = f" Did you mean {close[0]}?" if close else ""
            raise FlexLoRAError(f"A schedule has no {_shown(key)}.{hint} It has: {', '.join(KEYS)}.")
        if key == "points":
            parsed[key] = _knots(value)
            continue
        if isinstance(value, dict | list):
            raise FlexLoRAError(f"{key} must be one value, not {_shown(value)}.")
        if isinstance(value, str) and len(value) > 60:
            raise FlexLoRAError(f"{key}={_shown(value)} is too long a text.")
        if isinstance(value, int) and abs(value) > MAX_STEP:
            raise FlexLoRAError(f"{key}={_shown(value)} is out of range: no number of a schedule is beyond {MAX_STEP}.")
        parsed[key] = checked(items[key], value)
        if key != "exponent" and isinstance(parsed[key], int) and parsed[key] > _most(key):
            raise FlexLoRAError(f"{key}={_shown(value)} must be at most {_most(key)}.")
    return parsed


def _most(key: str) -> int:
    return MAX_BUDGET if key == "initial_budget" else MAX_STEP


def _read(text: str) -> Any:
    if not text.strip():
        raise FlexLoRAError("There is nothing to read. Paste a schedule as JSON or YAML.")
    if len(text) > MAX_TEXT:
        raise FlexLoRAError(f"The text has {len(text)} characters; a schedule has at most {MAX_TEXT}.")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        _refuse_tricks(text)
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise FlexLoRAError(
            f"This is neither JSON nor YAML: {_short(error.problem or 'it breaks off')}{line}."
        ) from error
    except FlexLoRAError:
        raise
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise FlexLoRAError(f"This is neither JSON nor YAML: {_short(str(error))}.") from error


def _refuse_tricks(text: str) -> None:
    depth = 0
    for token in yaml.scan(text):
        if isinstance(token, _REFUSED):
            raise FlexLoRAError("The YAML has anchors, aliases or tags. Write each value out.")
        depth += isinstance(token, _OPENING) - isinstance(token, _CLOSING)
        if depth > MAX_DEPTH:
            line = token.start_mark.line + 1
            raise FlexLoRAError(f"Line {line} is nested more than {MAX_DEPTH} deep; a schedule needs 3 levels.")


def _knots(value: Any) -> tuple[tuple[int, float], ...]:
    if not isinstance(value, list) or not value:
        raise FlexLoRAError(f"points={_shown(value)} is no list of [step, budget] pairs such as [[10, 8], [100, 0]].")
    knots: list[tuple[int, float]] = []
    for place, pair in enumerate(value, 1):
        if not isinstance(pair, list) or len(pair) != 2:
            raise FlexLoRAError(f"points: knot {place} is {_shown(pair)}, not [step, budget].")
        step, budget = pair
        if isinstance(step, bool) or not isinstance(step, int) or not 0 <= step <= MAX_STEP:
            raise FlexLoRAError(
                f"points: the step of knot {place} is {_shown(step)}; whole, 0 to {MAX_STEP}, is needed."
            )
        # NaN compares false with everything.
        if isinstance(budget, bool) or not isinstance(budget, int | float) or not 0 <= budget <= MAX_BUDGET:
            raise FlexLoRAError(f"points: the budget of knot {place} is {_shown(budget)}; 0 to {MAX_BUDGET} is needed.")
        if knots and step <= knots[-1][0]:
            raise FlexLoRAError(f"points: step {step} comes after step {knots[-1][0]}; steps must rise.")
        knots.append((step, float(budget)))
    return tuple(knots)


def _shown(value: Any) -> str:
    # Never the inside of something nested: it may be deep or large.
    if isinstance(value, dict | list):
        return f"a {'mapping' if isinstance(value, dict) else 'list'} of {len(value)}"
    # Python refuses to write out integers of more than 4300 digits.
    if isinstance(value, int) and value.bit_length() > 64:
        return f"a number of {value.bit_length()} bits"
    return _short(repr(value))


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 60 else f"{text[:59]}…"
