"""The pages, by the name that links between them use."""

import streamlit as st

from app_pages import adapters, explore, methods, train

PAGES = {
    "Explore": st.Page(explore.page, title="Explore", url_path="explore", default=True),
    "Train": st.Page(train.page, title="Train", url_path="train"),
    "Adapters": st.Page(adapters.page, title="Adapters", url_path="adapters"),
    "Methods": st.Page(methods.page, title="Methods", url_path="methods"),
}
