"""Learn: six lessons over the bundled runs, and a quiz."""

from __future__ import annotations

import streamlit as st

from analysis.lessons import missing
from flexlora.errors import FlexLoRAError
from flexlora.run_log import RunLogError
from learn.page import book_of, lessons
from runs.store import plain, samples_root


def page() -> None:
    """Draws the page."""
    samples = samples_root()
    if lacking := missing(samples):
        st.info(
            f"The lessons look at runs that are not here: {plain(', '.join(lacking))}. They come with the Lab, in its "
            "folder `sample_runs`; a server that was told to look elsewhere does not have them.",
            icon=":material/folder_off:",
        )
        return
    try:
        book = book_of(samples)
    except (FlexLoRAError, RunLogError) as error:
        st.error(f"A run of the lessons cannot be read: {plain(str(error))} A fresh copy of `sample_runs` helps.")
        return
    lessons(book)
