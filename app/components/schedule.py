"""The schedule preview: b(t) drawn while its numbers are edited."""

from __future__ import annotations

from streamlit.components.v2 import component

from components import joined_modules
from flexlora.config import FlexLoRAConfig

HEIGHT_PX = 140

_mount = component("flexlora_schedule_preview", js=joined_modules(("format", "draw", "palette", "schedule_preview")))


def schedule_preview(config: FlexLoRAConfig, key: str) -> None:
    """Draw b(t) of a configuration; the values are those that training will use.

    Args:
        config: with ``total_steps``.
        key: Streamlit key.
    """
    total = config.total_steps or 0
    values = [config.budget(step) for step in range(1, total + 1)]
    events = config.event_steps()
    data = {
        "total": total,
        "values": values,
        "events": list(events),
        "warmup": config.warmup_steps,
        "end": total - (config.final_steps or 0),
        "summary": describe_schedule(config),
    }
    _mount(key=key, data=data, height=HEIGHT_PX)


def describe_schedule(config: FlexLoRAConfig) -> str:
    """Return what a schedule allows, in one sentence."""
    budgets = [(step, config.budget(step)) for step in config.event_steps()]
    active = [(step, budget) for step, budget in budgets if budget]
    if not active:
        return "No event moves anything: b(t) is 0 at each of them."
    most = sum(budget for _, budget in active)
    return (
        f"{len(budgets)} events, {len(active)} with b(t) above 0, the last at step {active[-1][0]}; "
        f"at most {most} directions pruned and {most} extended."
    )
