"""The schedule panel: editor, number fields, knots, undo, copy and paste, over one state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import streamlit as st

from analysis.fine_print import describe_fine_print, fine_print
from analysis.from_here import Here
from flexlora.config import PRESETS, FlexLoRAConfig
from flexlora.errors import FlexLoRAError
from flexlora.schedule_text import STYLES, format_schedule, parse_schedule
from flexlora.schedules import CONFIGURABLE, OPTIONS
from flexlora.settings import full_help
from runs.store import plain
from schedule.editor import AdapterSize, describe_schedule, draw_schedule
from widgets import act

NUMBERS = ("initial_budget", "exponent", "warmup_steps", "final_steps", "interval", "adaptive_margin", "adaptive_churn")
MOST = 1_000_000
KNOTS = 5

SNAPS: dict[str, dict[str, Any]] = {
    "Paper": {key: PRESETS["paper"][key] for key in ("schedule", "initial_budget")} | {"exponent": 3.0},
    "Released code, as published": {key: PRESETS["reference"][key] for key in ("schedule", "initial_budget")},
    "Released code, scheduler on": {"schedule": "reference", "initial_budget": 4, "exponent": 3.0},
}
"""Label → options of a schedule that somebody uses."""


@dataclass
class Editing:
    """What a user has changed, with the way back.

    Attributes:
        states: changes against the base, oldest first; the first is none.
        place: index of the one in force.
        error: (field, message) of the last change that was refused.
        serial: counts every change and every refusal.
    """

    states: list[dict[str, Any]] = field(default_factory=lambda: [{}])
    place: int = 0
    error: tuple[str, str] | None = None
    serial: int = 0

    @property
    def changes(self) -> dict[str, Any]:
        """Options that differ from the base."""
        return self.states[self.place]

    def put(self, base: FlexLoRAConfig, changes: Mapping[str, Any], where: str) -> None:
        """Change some options, or say at ``where`` why that cannot be and keep the last good schedule."""
        self.serial += 1
        try:
            known = base.to_dict()
            wanted = {**self.changes, **changes}
            config = base.replace(**wanted).to_dict()
            self.error = None
        except FlexLoRAError as error:
            self.error = (where, str(error))
            return
        kept = {key: value for key in wanted if (value := config[key]) != known[key]}
        if kept != self.changes:
            self.states = [*self.states[: self.place + 1], kept]
            self.place += 1

    def refuse(self, where: str, message: str) -> None:
        """Say at ``where`` what is wrong with an input."""
        self.serial += 1
        self.error = (where, message)

    def go(self, place: int) -> None:
        """Undo or redo."""
        self.serial += 1
        self.place = min(max(0, place), len(self.states) - 1)
        self.error = None


def editing(scope: str) -> Editing:
    """Return the state of one panel."""
    return st.session_state.setdefault(f"{scope}_editing", Editing())


def edited_config(scope: str, base: FlexLoRAConfig) -> FlexLoRAConfig | None:
    """Return the configuration as edited; None, after saying so, where the edits no longer fit the base."""
    own = editing(scope)
    try:
        return base.replace(**own.changes) if own.changes else base
    except FlexLoRAError as error:
        st.error(plain(str(error)), icon=":material/error:")
        st.button("Drop the changes of the schedule", key=f"{scope}_drop", on_click=own.go, args=(0,))
        return None


def schedule_panel(scope: str, base: FlexLoRAConfig, adapter: AdapterSize) -> None:
    """Draw the panel; inside a fragment, only that part of the page runs again when it is used.

    ``scope`` names the panel's state, and the changes are made to ``base``. ``adapter`` is for the read-outs.
    """
    config = edited_config(scope, base)
    if config is None:
        return
    _fields(scope, base, config)
    schedule_plot(scope, base, config, adapter)
    st.caption(plain(describe_schedule(config)))
    _more_ways(scope, base, config)
    with st.expander("The fine print: paper, released code and this schedule", icon=":material/balance:"):
        _fine_print(config)


def schedule_plot(
    scope: str, base: FlexLoRAConfig, config: FlexLoRAConfig, adapter: AdapterSize, here: Here | None = None
) -> None:
    """Draw the curve with its handles; ``here`` tells where a run that trains stands: its past cannot be edited."""
    own = editing(scope)
    key = f"{scope}_plot"

    def edited() -> None:
        found = st.session_state[key].get("edit")
        if found:
            own.put(base, _from_browser(found["settings"], config), "editor")

    draw_schedule(config, schedule_options(config), adapter, key, own.serial, here=here, force=base, on_edit=edited)
    _error(own, "editor")


def schedule_fields(scope: str, base: FlexLoRAConfig, config: FlexLoRAConfig, now: int) -> None:
    """Draw the numbers of a run that trains and has finished ``now`` steps, and the ways back."""
    _fields(scope, base, config, now)
    _more_ways(scope, base, config)


def _more_ways(scope: str, base: FlexLoRAConfig, config: FlexLoRAConfig) -> None:
    if config.schedule == "points":
        _knots(scope, base, config)
    _buttons(scope, base, config)


def schedule_options(config: FlexLoRAConfig) -> dict[str, Any]:
    """Return what a schedule is made of, but for its own options."""
    keys = ("schedule", "initial_budget", "warmup_steps", "final_steps", "interval")
    return {key: getattr(config, key) for key in keys}


def _from_browser(found: Mapping[str, Any], config: FlexLoRAConfig) -> dict[str, Any]:
    changes: dict[str, Any] = {key: found[key] for key in schedule_options(config) if key in found}
    own = CONFIGURABLE[config.schedule].options
    if "exponent" in own:
        changes["exponent"] = float(found["exponent"])
    if "points" in own:
        changes["points"] = [(int(step), float(budget)) for step, budget in found["points"]]
    return changes


def _fields(scope: str, base: FlexLoRAConfig, config: FlexLoRAConfig, now: int = -1) -> None:
    """One select box and the numbers that this schedule has: the way without a mouse. They share whatever room is."""
    own = editing(scope)
    shown = [key for key in NUMBERS if _belongs(key, config.schedule)]
    items = FlexLoRAConfig.__dataclass_fields__
    with st.container(horizontal=True):
        with st.container(width=136):
            widget = _synced(f"{scope}_schedule", config.schedule)
            st.selectbox(
                "schedule",
                items["schedule"].metadata["choices"],
                key=widget,
                help=full_help(items["schedule"]),
                on_change=lambda: _choose(own, base, config, st.session_state[widget]),
            )
            _error(own, "schedule")
        for key in shown:
            value = getattr(config, key)
            with st.container(width=118):
                _number(scope, base, key, value, past=key == "warmup_steps" and value <= now)


def _belongs(key: str, schedule: str) -> bool:
    own = CONFIGURABLE[schedule].options
    return key in own if key in OPTIONS else key != "initial_budget" or "points" not in own


def _number(scope: str, base: FlexLoRAConfig, key: str, value: float, *, past: bool = False) -> None:
    own, item = editing(scope), FlexLoRAConfig.__dataclass_fields__[key]
    widget = _synced(f"{scope}_{key}", value)
    whole = isinstance(value, int)

    def changed() -> None:
        own.put(base, {key: st.session_state[widget]}, key)

    st.number_input(
        key.replace("_", " "),
        min_value=int(item.metadata["least"] or 0) if whole else 0.0,
        max_value=MOST if whole else 100.0,
        step=1 if whole else 0.1,
        key=widget,
        help="The warm-up is past." if past else item.metadata["help"],
        on_change=changed,
        disabled=past,
    )
    _error(own, key)


def _synced(widget: str, value: Any) -> str:
    """The widget shows what is in force, also after a handle, an undo or a refusal; it is never mounted anew."""
    if st.session_state.get(widget) != value:
        st.session_state[widget] = value
    return widget


def _choose(own: Editing, base: FlexLoRAConfig, config: FlexLoRAConfig, schedule: str) -> None:
    changes: dict[str, Any] = {"schedule": schedule}
    if schedule == "points" and not config.points:
        changes["points"] = _sampled(config)
    own.put(base, changes, "schedule")


def _sampled(config: FlexLoRAConfig) -> list[tuple[int, float]]:
    """Knots on the present curve, so that free knots start where the curve was."""
    first = config.window()[0] + 1
    last = max(first + 1, config.window_end - 1)
    steps = sorted({round(first + (last - first) * place / (KNOTS - 1)) for place in range(KNOTS)})
    return [(step, float(config.budget(step))) for step in steps]


def _knots(scope: str, base: FlexLoRAConfig, config: FlexLoRAConfig) -> None:
    own = editing(scope)
    widget = f"{scope}_knots_{own.serial}"
    table = pd.DataFrame(list(config.points), columns=["step", "budget"])

    def changed() -> None:
        rows = _edited_rows(table, st.session_state[widget])
        if rows is not None:
            own.put(base, {"points": rows}, "knots")

    with st.container(horizontal=True):
        left = st.container(width=300)
        right = st.container(width=300)
    with left:
        st.data_editor(
            table,
            key=widget,
            num_rows="dynamic",
            on_change=changed,
            height=min(250, 38 + 35 * (len(table) + 1)),
            column_config={
                "step": st.column_config.NumberColumn(min_value=0, step=1, required=True),
                "budget": st.column_config.NumberColumn(min_value=0, max_value=MOST, required=True),
            },
        )
        _error(own, "knots")
    right.caption(
        "Straight lines join the knots; before the first and after the last b stays. Double-click in the plot adds a "
        "knot, on a knot removes it. Rows of this table do the same: steps must rise."
    )


def _edited_rows(table: pd.DataFrame, edits: Mapping[str, Any]) -> list[tuple[int, float]] | None:
    """Return the knots after an edit of the table; None while an added row is incomplete."""
    rows: list[dict[str, Any]] = table.to_dict("records")
    for number, changes in edits["edited_rows"].items():
        rows[int(number)] |= changes
    gone = {int(number) for number in edits["deleted_rows"]}
    rows = [row for number, row in enumerate(rows) if number not in gone] + edits["added_rows"]
    if any(row.get("step") is None or row.get("budget") is None for row in rows):
        return None
    return sorted((int(row["step"]), float(row["budget"])) for row in rows)


def _buttons(scope: str, base: FlexLoRAConfig, config: FlexLoRAConfig) -> None:
    own = editing(scope)
    with st.container(horizontal=True, vertical_alignment="center"):
        last, back = len(own.states) - 1, {key: getattr(base, key) for key in own.changes}
        act("Undo", f"{scope}_Undo", ":material/undo:", own.go, own.place - 1, disabled=own.place == 0)
        act("Redo", f"{scope}_Redo", ":material/redo:", own.go, own.place + 1, disabled=own.place == last)
        act("Reset", f"{scope}_reset", ":material/restart_alt:", own.put, base, back, "editor", disabled=not back)
        with st.popover("Snap to", icon=":material/grid_goldenratio:"):
            for label, changes in SNAPS.items():
                act(label, f"{scope}_{label}", None, own.put, base, changes, "editor")
        with st.popover("Copy, paste", icon=":material/content_paste:"):
            _copy_and_paste(scope, base, config)
        if own.changes:
            told = ", ".join(f"{key} = {_shown(value)}" for key, value in own.changes.items())
            st.caption(f"Changed: {plain(told)}", width="content")


def _shown(value: Any) -> str:
    return f"{len(value)} knots" if isinstance(value, list | tuple) else str(value)


def _copy_and_paste(scope: str, base: FlexLoRAConfig, config: FlexLoRAConfig) -> None:
    own = editing(scope)
    style = st.segmented_control("As", list(STYLES), default="json", required=True, key=f"{scope}_style")
    st.code(format_schedule(config, style or "json"), language=style or "json")
    widget = f"{scope}_pasted"

    def paste() -> None:
        try:
            changes = parse_schedule(st.session_state[widget])
        except FlexLoRAError as error:
            own.refuse("paste", str(error))
            return
        own.put(base, changes, "paste")

    st.text_area("Paste JSON or YAML", key=widget, height=120, placeholder='{"schedule": "cubic", "initial_budget": 8}')
    st.button("Use it", key=f"{scope}_paste", on_click=paste)
    _error(own, "paste")


def _error(own: Editing, where: str) -> None:
    if own.error is not None and own.error[0] == where:
        st.error(f"{plain(own.error[1])} The last good schedule stays.", icon=":material/error:")


def _fine_print(config: FlexLoRAConfig) -> None:
    rows = fine_print(config)
    st.table(
        {name: [_cell(row[name]) for row in rows] for name in rows[0]},
        border="horizontal",
        hide_index=True,
        alt="Paper, released code and this schedule with the same b0 and window",
    )
    for line in describe_fine_print(config):
        st.caption(plain(line))


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return plain(f"{value:.1f}" if isinstance(value, float) else str(value))
