"""Playground: paint how much rank each matrix needs, and let two rules race for it; five toys beside it."""

from __future__ import annotations

import streamlit as st

from playground import playground
from playground.opening import TROUBLE, open_training


def page() -> None:
    """Draws the page."""
    opened = playground("playground_page", st.session_state.pop(TROUBLE, None))
    if opened:
        open_training(opened)
