"""The figures of the analysis on a page."""

from __future__ import annotations

from typing import Any

import streamlit as st

from analysis.figures import FIGURES
from analysis.figures.theme import CONFIG

GROUNDS = {"light": "#ffffff", "dark": "#12171c"}
"""Theme → ground of the page, where no configuration names one."""


def chart(key: str, alt: str, name: str, *arguments: Any, **options: Any) -> None:
    """Draw a figure of ``FIGURES`` with its arguments and options; ``alt`` tells those who do not see it."""
    # The ground of the page, not a transparent one: light letters saved from a dark page need it.
    figure = FIGURES[name](*arguments, **options).update_layout(paper_bgcolor=_ground())
    st.plotly_chart(figure, key=key, config=CONFIG, alt=alt)


def _ground() -> str:
    theme = "dark" if st.context.theme.type == "dark" else "light"
    return st.get_option(f"theme.{theme}.backgroundColor") or GROUNDS[theme]
