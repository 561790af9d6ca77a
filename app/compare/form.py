"""The small form of a study: what is chosen in it, as the text of a study file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import streamlit as st
import yaml

from flexlora.methods import METHODS
from flexlora.study.spec import UNITS
from flexlora.tasks import TASKS
from widgets import act

UNIT_WORDS = {
    "final_rank": "total rank in the end",
    "final_parameters": "active parameters in the end",
    "parameter_steps": "parameters × steps",
    "time": "seconds of training",
    "none": "nothing",
}
"""What is held equal, in words."""
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


def study_form(take: Callable[[str], None]) -> None:
    """Draw the form; ``take`` gets the text that it writes, before the page runs again."""
    first = st.columns([0.42, 0.28, 0.3], vertical_alignment="bottom")
    titles = {key: method.title for key, method in METHODS.items()}
    with first[0]:
        st.multiselect("Methods", titles, ["lora", "flexlora"], format_func=titles.__getitem__, key=f"{KEY}_methods")
    with first[1]:
        st.multiselect("Tasks", list(TASKS), ["digits"], format_func=lambda key: TASKS[key].title, key=f"{KEY}_tasks")
    with first[2]:
        st.checkbox("with random moves as a control", True, key=f"{KEY}_control")
    second = st.columns((1, 1, 0.9, 1.15, 1.5, 0.9), vertical_alignment="bottom")
    with second[0]:
        st.number_input("Seeds", 1, 500, 8, key=f"{KEY}_seeds")
    with second[1]:
        st.number_input("Steps", 1, 100_000, 150, key=f"{KEY}_steps")
    with second[2]:
        st.text_input("Ranks", "2", key=f"{KEY}_ranks", help="One, or several: each against its own reference")
    with second[3]:
        told = "Empty: each method's own. Several: each against its own reference"
        st.text_input("Learning rates", key=f"{KEY}_rates", help=told, placeholder="each method's own")
    with second[4]:
        st.selectbox("Equal in", UNITS, format_func=UNIT_WORDS.__getitem__, key=f"{KEY}_unit")
    with second[5]:
        told = "A difference smaller than this would not matter; without one, no difference is never claimed"
        st.text_input("Margin", "0.01", key=f"{KEY}_margin", help=told)
    act("Write the study file", f"{KEY}_write", ":material/edit_note:", lambda: take(study_text(_chosen())))


def study_text(chosen: Chosen) -> str:
    """Return the study file of what was chosen; what was typed is left to the file's own check."""
    methods: list[Any] = list(chosen.methods)
    if chosen.control:
        methods.append({"name": "random moves", "method": "flexlora", "settings": {"importance": "random"}})
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


def _chosen() -> Chosen:
    return Chosen(**{field: st.session_state[f"{KEY}_{field}"] for field in Chosen._fields})


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
