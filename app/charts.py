"""The figures of the analysis on a page."""

from __future__ import annotations

from typing import Any

import streamlit as st
from plotly.graph_objects import Figure

from analysis.figures import FIGURES
from analysis.figures.theme import CONFIG


def chart(key: str, alt: str, name: str, *arguments: Any, **options: Any) -> None:
    """Draw a figure of ``FIGURES`` with its arguments and options; ``alt`` tells those who do not see it."""
    draw(key, alt, FIGURES[name](*arguments, **options))


def draw(key: str, alt: str, figure: Figure) -> None:
    """Draw a figure that is there already."""
    st.plotly_chart(figure, key=key, config=CONFIG, alt=alt)


def dark() -> bool:
    """Return whether the visitor's page is dark."""
    return bool(st.context.theme.type == "dark")
