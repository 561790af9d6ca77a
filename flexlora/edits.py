"""Live edits: options changed while training, by hand or by a script, checked before anything changes. Torch-free."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from flexlora.adapter_config import AdapterConfig
from flexlora.errors import FlexLoRAError
from flexlora.settings import parse_setting

Config = TypeVar("Config", bound=AdapterConfig)

Edits = dict[int, dict[str, Any]]
"""Finished steps → option → value: what changes before the next step."""


def live_options(kind: type[AdapterConfig]) -> list[str]:
    """Return the options of a configuration class that may change while training."""
    return [name for name, item in kind.__dataclass_fields__.items() if item.metadata.get("live")]


def apply_edit(config: Config, changes: Mapping[str, Any]) -> Config:
    """Return the configuration with some live options changed, all or none.

    ``changes`` is option → value, or text as typed on a command line.

    Raises:
        FlexLoRAError: an option that cannot change while training, or values that cannot work.
    """
    live = live_options(type(config))
    for key in changes:
        if key not in live:
            allowed = ", ".join(live) or "none of its options"
            raise FlexLoRAError(f"{key} cannot change while training. These can: {allowed}.")
    kind = type(config)
    typed = {
        key: parse_setting(kind, key, value) if isinstance(value, str) else value for key, value in changes.items()
    }
    return config.replace(**typed)


def logged_edits(notes: Iterable[Mapping[str, Any]]) -> Edits:
    """Return the edits that a log tells of."""
    edits: Edits = {}
    for note in notes:
        if note.get("kind") == "edited" and isinstance(note.get("step"), int):
            edits.setdefault(note["step"], {}).update(note.get("new") or {})
    return edits


def parse_edits(texts: Iterable[str], config: AdapterConfig) -> Edits:
    """Read an edit script as given on a command line, and try it on the configuration with which the run starts.

    Each text is ``STEP:KEY=VALUE``: after so many finished steps, 0 = before the first; edits of one step count as one.

    Raises:
        FlexLoRAError: text of another form, a step outside the run, or an edit that cannot work.
    """
    edits: Edits = {}
    for text in texts:
        step, colon, rest = text.partition(":")
        key, sign, value = rest.partition("=")
        if not colon or not sign or not step.strip().isdecimal() or not key.strip():
            raise FlexLoRAError(f"--edit {text!r} is not STEP:KEY=VALUE, for example --edit 50:initial_budget=4.")
        edits.setdefault(int(step), {})[key.strip()] = value.strip()
    total = config.total_steps or 0
    for step, changes in sorted(edits.items()):
        if step >= total:
            raise FlexLoRAError(f"--edit {step}:...: the run has {total} steps; edits come before the last one.")
        config = apply_edit(config, changes)
    return dict(sorted(edits.items()))
