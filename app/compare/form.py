"""The small form of a study: what is chosen in it, as the text of a study file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import streamlit as st
import yaml

from flexlora.methods import METHODS
from flexlora.study.spec import UNITS
from flexlora.tasks import TASKS

UNIT_WORDS = {
    "final_rank": "total rank in the end",
    "final_parameters": "active parameters in the end",
    "parameter_steps": "parameters × steps",
    "time": "seconds of training",
    "none": "nothing",
}
"""What is held equal, in words."""
CONTROL = (
    "FlexLoRA that moves as many directions at the same events, between matrices drawn by chance. At the same learning "
    "rate, what FlexLoRA has more than it comes from where rank goes, not from moving it."
)
"""What random moves are, in words."""
RANDOM = "random moves"
"""What a study calls that variant."""
KEY = "compare_form"


class Chosen(NamedTuple):
    """What the form holds; ranks, rates and margin as they were typed."""

    methods: Sequence[str]
    tasks: Sequence[str]
    control: bool
    seeds: int
    steps: int
    ranks: str
    rates: str
    unit: str
    margin: str


def study_form() -> str:
    """Draw the form; return the study file of what it shows."""
    kept: dict[str, Any] = {"persist_state": "session"}
    first = st.columns([0.42, 0.28, 0.3], vertical_alignment="bottom")
    titles = {key: method.title for key, method in METHODS.items()}
    named = {key: task.title for key, task in TASKS.items()}
    with first[0]:
        methods = st.multiselect(
            "Methods", titles, ["lora", "flexlora"], format_func=titles.__getitem__, key=f"{KEY}_methods", **kept
        )
    with first[1]:
        tasks = st.multiselect("Tasks", named, ["digits"], format_func=named.__getitem__, key=f"{KEY}_tasks", **kept)
    with first[2]:
        control = st.checkbox("with random moves as a control", True, key=f"{KEY}_control", help=CONTROL, **kept)
    second = st.columns((1, 1, 0.9, 1.15, 1.5, 0.9), vertical_alignment="bottom")
    with second[0]:
        seeds = st.number_input("Seeds", 1, 500, 8, key=f"{KEY}_seeds", **kept)
    with second[1]:
        steps = st.number_input("Steps", 1, 100_000, 150, key=f"{KEY}_steps", **kept)
    with second[2]:
        told = "One, or several: each against its own reference"
        ranks = st.text_input("Ranks", "2", key=f"{KEY}_ranks", help=told, **kept)
    with second[3]:
        told = "Empty: each method's own. Several: each against its own reference"
        rates = st.text_input("Learning rates", key=f"{KEY}_rates", help=told, placeholder="each method's own", **kept)
    with second[4]:
        unit = st.selectbox("Equal in", UNITS, format_func=UNIT_WORDS.__getitem__, key=f"{KEY}_unit", **kept)
    with second[5]:
        told = "A difference smaller than this would not matter; without one, no difference is never claimed"
        margin = st.text_input("Margin", "0.01", key=f"{KEY}_margin", help=told, **kept)
    return study_text(Chosen(methods, tasks, control, int(seeds), int(steps), ranks, rates or "", unit, margin))


def study_text(chosen: Chosen) -> str:
    """Return the study file of what was chosen; what was typed is left to the file's own check."""
    methods: list[Any] = list(chosen.methods)
    if chosen.control:
        methods.append({"name": RANDOM, "method": "flexlora", "settings": {"importance": "random"}})
    content: dict[str, Any] = {"tasks": list(chosen.tasks), "methods": methods, "seeds": chosen.seeds}
    settings: dict[str, Any] = {"steps": chosen.steps, "save_adapter": False}
    axes = {}
    for key, typed in (("rank", chosen.ranks), ("learning_rate", chosen.rates)):
        values = [_value(part) for part in typed.split(",") if part.strip()]
        if len(values) > 1:
            axes[key] = values
        elif values:
            settings[key] = values[0]
    if axes:
        content |= {"axes": axes, "within": list(axes)}
    content |= {"settings": settings, "equal": chosen.unit}
    if chosen.margin.strip():
        content["margin"] = _value(chosen.margin)
    return yaml.safe_dump({"name": _name(chosen), **content}, sort_keys=False, allow_unicode=True, width=110)


def _name(chosen: Chosen) -> str:
    return f"{' and '.join(chosen.methods)} on {' and '.join(chosen.tasks)}"[:80]


def _value(text: str) -> int | float | str:
    text = text.strip()
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
