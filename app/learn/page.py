"""The page's one element: the reader, and the book that it shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.components.v2 import component

from analysis.lessons import lesson_book, material
from assets import loader

_mount = component("flexlora_lessons", js=loader("learn/component.js"))


@st.cache_resource(show_spinner="Reading the runs that the lessons look at …", max_entries=2)
def book_of(samples: Path) -> dict[str, Any]:
    """Return the lessons over the runs of a folder, computed once.

    Raises:
        RunLogError: a run cannot be read.
        FlexLoRAError: the study cannot be read.
    """
    return lesson_book(material(samples))


def lessons(book: dict[str, Any]) -> None:
    """Draw the reader; place and answers stay in the browser."""
    _mount(key="lessons", data=book)
