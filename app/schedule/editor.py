"""The schedule editor: b(t) redrawn in the browser while a handle is dragged, computed here once it is released."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from streamlit.components.v2 import component

from analysis.from_here import Here
from assets import loader
from flexlora.config import FlexLoRAConfig
from flexlora.schedules import CONFIGURABLE, Schedule

_mount = component("flexlora_schedule_editor", js=loader("schedule/editor.js"))


class AdapterSize(NamedTuple):
    """What a schedule acts on.

    Attributes:
        matrices: how many; 0 = unknown.
        rank: directions of each at the start.
        cost: mean parameters of one direction; None = unknown.
    """

    matrices: int
    rank: int
    cost: float | None


def draw_schedule(
    config: FlexLoRAConfig,
    settings: dict[str, Any],
    adapter: AdapterSize,
    key: str,
    serial: int,
    *,
    here: Here | None = None,
    force: FlexLoRAConfig | None = None,
    on_edit: Callable[[], None] | None = None,
) -> None:
    """Draw b(t) with handles; at rest the values are those that training uses.

    Args:
        config: with ``total_steps``.
        settings: its schedule's options.
        adapter: for the read-outs.
        key: Streamlit key; after an edit ``st.session_state[key]["edit"]`` has ``settings`` and ``serial``.
        serial: changes whenever the settings do, or were refused.
        here: where a run that trains stands: what is past is drawn as it was.
        force: what such a run trains with as long as ``config`` is not applied.
        on_edit: called once a handle is released; None = nothing can be dragged.
    """
    total = config.total_steps or 0
    data = {
        "shape": shape_of(CONFIGURABLE[config.schedule]),
        "settings": {"exponent": config.exponent, **settings, "points": [list(knot) for knot in config.points]},
        "total": total,
        "values": _curve(config),
        "adapter": adapter._asdict(),
        "editable": on_edit is not None,
        "direction": config.direction,
        "here": asdict(here) if here else None,
        "force": _curve(force) if here and force else None,
        "serial": serial,
    }
    # Streamlit reports a trigger only when a callback asks for it.
    _mount(key=key, data=data, on_edit_change=on_edit or (lambda: None))


def _curve(config: FlexLoRAConfig) -> list[int]:
    return [config.budget(step) for step in range(1, (config.total_steps or 0) + 1)]


def shape_of(schedule: Schedule) -> dict[str, Any]:
    """Return what the browser must know of a schedule to draw it while a handle is dragged."""
    return {
        "family": schedule.family,
        "options": list(schedule.options),
        "power": schedule.power,
        "overEnd": schedule.over_end,
        "decided": schedule.decided,
    }


def describe_schedule(config: FlexLoRAConfig) -> str:
    """Return what a schedule allows, in one sentence."""
    budgets = [(step, config.budget(step)) for step in config.event_steps()]
    active = [(step, budget) for step, budget in budgets if budget]
    if not active:
        return "No event moves anything: b(t) is 0 at each of them."
    most = sum(budget for _, budget in active)
    decides = CONFIGURABLE[config.schedule].decided
    decided = f" Schedule {config.schedule} decides at each event how many of them move." if decides else ""
    return (
        f"{len(budgets)} events, {len(active)} with b(t) above 0, the last at step {active[-1][0]}; "
        f"at most {most} directions pruned and {most} extended.{decided}"
    )


def mean_cost(shapes: Sequence[tuple[int, int]]) -> float | None:
    """Return the mean parameters of one direction, in + out + 1; None without matrices."""
    return sum(first + second + 1 for first, second in shapes) / len(shapes) if shapes else None
