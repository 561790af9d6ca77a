"""The pages, by the name that links between them use."""

import streamlit as st
from streamlit.navigation.page import StreamlitPage

import links
from app_pages import adapters, classroom, compare, explore, learn, methods, playground, runs, train, what_if
from classroom.room import class_of_server


def pages() -> dict[str, StreamlitPage]:
    """Makes the pages for one run of the script: whether a page may run is kept in it, so that two never share one."""
    made = {
        "Explore": st.Page(explore.page, title="Explore", url_path="explore", default=True),
        "Playground": st.Page(playground.page, title="Playground", url_path="playground"),
        "Learn": st.Page(learn.page, title="Learn", url_path="learn"),
        "Train": st.Page(train.page, title="Train", url_path="train"),
        "Compare": st.Page(compare.page, title="Compare", url_path="compare"),
        "What-if": st.Page(what_if.page, title="What-if", url_path="what-if"),
        "Adapters": st.Page(adapters.page, title="Adapters", url_path="adapters"),
        "Methods": st.Page(methods.page, title="Methods", url_path="methods"),
        "Runs": st.Page(runs.page, title="Runs", url_path="runs"),
    }
    if class_of_server() is not None:
        made["Class"] = st.Page(classroom.page, title="Class", url_path="class")
    links.register(made)
    return made
