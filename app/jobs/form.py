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
from runs.store import adapter_size
from schedule.panel import NUMBERS, edited_config, editing, schedule_panel

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
    task, method, preset, steps, seed = _top()
    plain = _plain_job(task, method, preset, steps, seed)
    if plain is None:
        return None
    version = st.session_state.setdefault("train_version", 0)
    scope = f"train_{version}_{task}_{method}_{preset}"
    defaults = plain.to_dict()
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
            defaults = _following(task, method, preset, steps, seed, settings) or defaults
    if "target_rank" in options and "initial_rank" in settings:
        # What is shown holds, also where the command line would derive it.
        settings.setdefault("target_rank", defaults["target_rank"])
    preview = st.container()
    with st.expander("More options", icon=":material/tune:"):
        _more(scope, {key: fields[key] for key in options if key not in main}, defaults, settings)
    try:
        job = build_job(task, method, preset, steps, seed, settings)
    except FlexLoRAError as error:
        preview.error(_text(str(error)), icon=":material/error:")
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


def _following(
    task: str, method: str, preset: str, steps: int, seed: int, settings: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Return every value that follows from what was set so far; None while that cannot work."""
    try:
        return build_job(task, method, preset, steps, seed, settings).to_dict()
    except FlexLoRAError:
        return None


def _show_changes(settings: Mapping[str, Any], version: int) -> None:
    """Say what differs from the preset, and offer the way back; the form before a reset is kept for undo."""

    def turn_to(number: int) -> None:
        st.session_state["train_version"] = number

    with st.container(horizontal=True, vertical_alignment="center"):
        if settings:
            changed = ", ".join(f"{key} = {value}" for key, value in settings.items())
            st.caption(f"Changed: {_text(changed)}", width="content")
            st.button("Back to the preset", key="train_reset", on_click=turn_to, args=(version + 1,))
        elif version:
            st.button("Undo the reset", key="train_undo", on_click=turn_to, args=(version - 1,))


def _top() -> tuple[str, str, str, int, int]:
    columns = st.columns((1.2, 1, 1, 0.8, 0.6))
    task = columns[0].selectbox(
        "Task", list(TASKS), key="train_task", format_func=lambda key: TASKS[key].title, persist_state="session"
    )
    method = columns[1].selectbox(
        "Method", list(METHODS), key="train_method", format_func=lambda key: METHODS[key].title, persist_state="session"
    )
    presets = METHODS[method].presets
    preset = columns[2].selectbox(
        "Preset",
        presets,
        key=f"train_preset_{method}",
        help="paper: what the paper states. reference: what the released code does.",
        persist_state="session",
    )
    steps = columns[3].number_input(
        "Steps", 1, 100_000, int(TASKS[task].defaults["steps"]), key=f"train_steps_{task}", persist_state="session"
    )
    seed = columns[4].number_input("Seed", 0, 2**31 - 1, 0, key="train_seed", persist_state="session")
    st.caption(_text(f"{TASKS[task].description} {TASKS[task].note}"))
    return task, method, preset, int(steps), int(seed)


def _plain_job(task: str, method: str, preset: str, steps: int, seed: int) -> Job | None:
    try:
        return build_job(task, method, preset, steps, seed)
    except FlexLoRAError as error:
        st.error(_text(str(error)), icon=":material/error:")
        return None


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
        value = st.selectbox(
            label, choices, index=list(choices).index(default), key=widget, help=help_text, persist_state="session"
        )
        if value != default:
            settings[key] = value
    elif key in MAIN and isinstance(default, int):
        # The default is part of the key: a derived number follows what it is derived from.
        least = int(field.metadata.get("least") or 0)
        value = st.number_input(
            label, least, None, default, key=f"{widget}_{default}", help=help_text, persist_state="session"
        )
        if value != default:
            settings[key] = int(value)
    elif kind.startswith("bool"):
        value = st.toggle(label, default, key=widget, help=help_text, persist_state="session")
        if value != default:
            settings[key] = value
    else:
        text = st.text_input(
            label, "", key=widget, help=help_text, placeholder=_shown(default), persist_state="session"
        )
        if text.strip():
            settings[key] = text.strip()


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _text(text: str) -> str:
    """Text that Markdown shows as it is."""
    return "".join(f"\\{letter}" if letter in r"\`*_[]<>#|$~" else letter for letter in text)
