"""Train: how to start a run."""

import streamlit as st


def page() -> None:
    """Draws the page."""
    st.subheader("Train")
    st.markdown("Start a run in a terminal; it appears under **Explore** while it grows:")
    st.code("python -m flexlora.train --task words --preset paper --out runs/demo", language="bash")
