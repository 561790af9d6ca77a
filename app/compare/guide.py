"""The guide to study files, opened over the page."""

from __future__ import annotations

import streamlit as st

from files import REPOSITORY

GUIDE = REPOSITORY / "docs" / "studies.md"


def guide_link() -> None:
    """Draw what opens the guide; only its name where the Lab is installed without its documents."""
    if not GUIDE.is_file():
        st.caption("`docs/studies.md` in the source has each key.")
    elif st.button(
        "Every key, and how it is compared: docs/studies.md",
        key="compare_guide",
        type="tertiary",
        icon=":material/menu_book:",
    ):
        _guide()


@st.dialog("Studies", width="large")
def _guide() -> None:
    # Its own title is the dialog's; links of the file to its neighbours lead nowhere from here.
    st.markdown(GUIDE.read_text(encoding="utf-8").partition("\n")[2].replace("\n## ", "\n#### "))
