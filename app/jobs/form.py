"""The form of a job: widgets built from the options' own descriptions, checked as the command line checks them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field
from typing import Any

import streamlit as st

from flexlora.config import FlexLoRAConfig
from flexlora.errors import FlexLoRAError
from flexlora.job import LOOP_OPTIONS, Job, build_job
from flexlora.methods import METHODS
from flexlora.settings import full_help
from flexlora.tasks import TASKS
from runs.store import adapter_size, plain
from schedule.panel import NUMBERS, edited_config, editing, schedule_panel
from widgets import select

Top = tuple[str, str, str, int, int]
"""Task, method, preset, steps, seed."""

MAIN = ("target_rank", "initial_rank", "schedule", "initial_budget", "warmup_steps", "final_steps", "interval")
SHOWN_FIRST = ("importance", "direction", "new_direction", "rank_one", "plan", "prune_rule")
ROOTS = ("target_rank", "initial_rank")
"""Other defaults follow from these."""
STEERED = ("schedule", "points", *NUMBERS)
"""Options that the schedule panel asks for."""
ELSEWHERE = ("preset", "seed", "total_steps")
"""Asked for at the top of the form."""


def job_form() -> Job | None:
    """Draw the form; return the job it describes, or None after saying what is wrong with it."""
    top = _top()
    task, method, preset, _, _ = top
    try:
        defaults = build_job(*top).to_dict()
    except FlexLoRAError as error:
        st.error(plain(str(error)), icon=":material/error:")
        return None
    version = st.session_state.setdefault("train_version", 0)
    scope = f"train_{version}_{task}_{method}_{preset}"
    options = [key for key in METHODS[method].options if key not in ELSEWHERE]
    fields = METHODS[method].config_class.__dataclass_fields__
    settings: dict[str, Any] = {}
    steered = METHODS[method].config_class is FlexLoRAConfig
    if steered:
        options = [key for key in options if key not in STEERED]
    main = [key for key in MAIN if key in options]
    for column, key in zip(st.columns(max(6, len(main))), main, strict=False):
        with column:
            _ask(scope, key, fields[key], defaults[key], settings)
        if key in ROOTS:
            defaults = _following(top, settings) or defaults
    if "target_rank" in options and "initial_rank" in settings:
        # What is shown holds, also where the command line would derive it.
        settings.setdefault("target_rank", defaults["target_rank"])
    preview = st.container()
    with st.expander("More options", icon=":material/tune:"):
        _more(scope, {key: fields[key] for key in options if key not in main}, defaults, settings)
    try:
        job = build_job(*top, settings)
    except FlexLoRAError as error:
        preview.error(plain(str(error)), icon=":material/error:")
        return None
    with preview:
        _show_changes(settings, version)
        return _with_schedule(f"{scope}_plan", job, settings) if steered else job


def _with_schedule(scope: str, job: Job, settings: Mapping[str, Any]) -> Job | None:
    """Draw the schedule panel; return the job with the schedule that it holds."""
    base = job.config
    if not isinstance(base, FlexLoRAConfig):
        return job
    # Dragging runs this part of the page again and nothing else.
    st.fragment(schedule_panel)(scope, base, adapter_size(job.task, base))
    if edited_config(scope, base) is None:
        return None
    own = editing(scope).changes
    return build_job(job.task, job.method, base.preset, job.steps, base.seed, {**settings, **own})


def _following(top: Top, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return every value that follows from what was set so far; None while that cannot work."""
    try:
        return build_job(*top, settings).to_dict()
    except FlexLoRAError:
        return None


def _show_changes(settings: Mapping[str, Any], version: int) -> None:
    """Say what differs from the preset, and offer the way back; the form before a reset is kept for undo."""

    def turn_to(number: int) -> None:
        st.session_state["train_version"] = number

    with st.container(horizontal=True, vertical_alignment="center"):
        if settings:
            changed = ", ".join(f"{key} = {value}" for key, value in settings.items())
            st.caption(f"Changed: {plain(changed)}", width="content")
            st.button("Back to the preset", key="train_reset", on_click=turn_to, args=(version + 1,))
        elif version:
            st.button("Undo the reset", key="train_undo", on_click=turn_to, args=(version - 1,))


def _top() -> Top:
    columns = st.columns((1.2, 1, 1, 0.8, 0.6))
    task = select("Task", [*TASKS], "train_task", columns[0], format_func=lambda key: TASKS[key].title)
    method = select("Method", [*METHODS], "train_method", columns[1], format_func=lambda key: METHODS[key].title)
    told = "paper: what the paper states. reference: what the released code does."
    preset = select("Preset", METHODS[method].presets, f"train_preset_{method}", columns[2], help=told)
    steps = columns[3].number_input(
        "Steps", 1, 100_000, int(TASKS[task].defaults["steps"]), key=f"train_steps_{task}", persist_state="session"
    )
    seed = columns[4].number_input("Seed", 0, 2**31 - 1, 0, key="train_seed", persist_state="session")
    st.caption(plain(f"{TASKS[task].description} {TASKS[task].note}"))
    return task, method, preset, int(steps), int(seed)


def _more(scope: str, options: Mapping[str, Field[Any]], defaults: Mapping[str, Any], settings: dict[str, Any]) -> None:
    first = [key for key in SHOWN_FIRST if key in options]
    rest = [key for key in options if key not in first]
    for names, source in ((first + rest, options), (list(LOOP_OPTIONS), LOOP_OPTIONS)):
        columns = st.columns(4)
        for number, key in enumerate(names):
            with columns[number % 4]:
                _ask(scope, key, source[key], defaults[key], settings)


def _ask(scope: str, key: str, field: Field[Any], default: Any, settings: dict[str, Any]) -> None:
    """Draw one widget; put its value into ``settings`` when the user changed it.

    Text stays empty until it is typed, and shows what is in force.
    """
    label, help_text, widget = key.replace("_", " "), full_help(field), f"{scope}_{key}"
    choices, kind = field.metadata.get("choices"), str(field.type)
    if choices:
        # None is a choice where it is the default: it is found out, or has no part.
        options = [*([None] if default is None else []), *choices]
        value = select(label, options, widget, index=options.index(default), help=help_text, format_func=_shown)
    elif key in MAIN and isinstance(default, int):
        # The default is part of the key: a derived number follows what it is derived from.
        least, own = int(field.metadata.get("least") or 0), f"{widget}_{default}"
        value = int(st.number_input(label, least, None, default, key=own, help=help_text, persist_state="session"))
    elif kind.startswith("bool"):
        value = st.toggle(label, default, key=widget, help=help_text, persist_state="session")
    else:
        held = _shown(default)
        text = st.text_input(label, key=widget, help=help_text, placeholder=held, persist_state="session")
        value = text.strip() or default
    if value != default:
        settings[key] = value


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
