"""Which configuration was in force when: a run's own, and what was edited while it trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.runs import Run
from flexlora.adapter_config import AdapterConfig, EventConfig
from flexlora.config import FlexLoRAConfig
from flexlora.errors import FlexLoRAError
from flexlora.methods import METHODS

MAX_STEPS = 10_000_000
"""Of the longest run whose schedule is evaluated: a forged number must not fill the memory."""


def edits(run: Run) -> list[tuple[int, dict[str, Any]]]:
    """Return (finished steps, option → new value) of every live edit, in order; they hold from the next step on."""
    found = []
    for note in run.notes:
        if note.get("kind") != "edited" or not isinstance(note.get("step"), int):
            continue
        new = note.get("new")
        changes = new if isinstance(new, Mapping) else {note["key"]: new}
        found.append((note["step"], dict(changes)))
    return found


def config_at(run: Run, step: int | None = None) -> AdapterConfig:
    """Return the method's configuration as step ``step`` used it; None = as the last step did.

    Raises:
        FlexLoRAError: the log names values that this version does not take, or absurdly many steps.
        KeyError: a method that this version does not know.
    """
    if run.total_steps > MAX_STEPS:
        raise FlexLoRAError(f"The log names {run.total_steps} steps; schedules are evaluated up to {MAX_STEPS:,}.")
    # A log from elsewhere may name no method; its rule is taken to be FlexLoRA's.
    kind = METHODS[run.header.get("method") or "flexlora"].config_class
    config = kind.from_dict({key: value for key, value in run.config.items() if key in kind.__dataclass_fields__})
    changes = {}
    for after, new in edits(run):
        if step is None or after < step:
            changes |= new
    return config.replace(**changes) if changes else config


def first_event(run: Run) -> int | None:
    """Return the step of a run's first event, logged or planned; 0 where none can come, None where nobody knows."""
    if run.events:
        return int(run.events[0]["step"])
    try:
        config = config_at(run)
        planned = config.event_steps() if isinstance(config, EventConfig) else None
    except (FlexLoRAError, KeyError):
        return None
    if planned is None:
        return 0 if run.header.get("method") == "lora" else None
    last = int(run.steps[-1]) if len(run.steps) else 0
    return next((step for step in planned if step >= last), 0)


def allowed_moves(run: Run) -> int | None:
    """Return how many directions all events of a run may prune, and as many extend; None where no budget says."""
    try:
        config = config_at(run)
    except (FlexLoRAError, KeyError):
        return None
    if not isinstance(config, FlexLoRAConfig) or config.total_steps is None:
        return None
    return sum(config.budget(step) for step in config.event_steps())
