"""The figures of the analysis on a page."""

from __future__ import annotations

from typing import Any

import streamlit as st

from analysis.figures import FIGURES
from analysis.figures.theme import CONFIG


def chart(key: str, alt: str, name: str, *arguments: Any, **options: Any) -> None:
    """Draw a figure.

    Args:
        key: Streamlit key.
        alt: what it shows, for those who do not see it.
        name: key of ``FIGURES``.
        arguments: of the figure.
        options: of the figure.
    """
    st.plotly_chart(FIGURES[name](*arguments, **options), key=key, config=CONFIG, alt=alt)
