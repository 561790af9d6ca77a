"""The Playground's page headless: it opens, and stands where the contract has it."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest


def test_the_page_opens_without_a_run(roots):
    def script():
        from app_pages import playground

        playground.page()

    app = AppTest.from_function(script, default_timeout=30).run()
    assert not app.exception


def test_pages_stand_in_their_order():
    def script():
        import streamlit as st

        from navigation import pages

        made = pages()
        st.navigation(list(made.values()), position="hidden")
        st.text(" ".join(page.url_path or "explore" for page in made.values()))

    app = AppTest.from_function(script, default_timeout=30).run()
    order = ["explore", "playground", "learn", "train", "compare", "what-if", "adapters", "methods", "runs"]
    found = app.text[0].value.split()
    assert "playground" in found and found == [page for page in order if page in found]


@pytest.mark.parametrize(
    "told", [{}, {"name": "a", "text": 3}, {"name": "a", "text": "{}"}, {"name": "../a", "text": ""}]
)
def test_what_cannot_be_opened_is_told_and_makes_no_run(roots, told):
    def script(told):
        import streamlit as st

        from playground.opening import TROUBLE, open_training

        if TROUBLE in st.session_state:
            st.text(st.session_state[TROUBLE])
        else:
            open_training(told)

    app = AppTest.from_function(script, args=(told,), default_timeout=30).run()
    assert not app.exception
    assert app.text[0].value.startswith("It could not be opened. ")
    assert "Traceback" not in app.text[0].value and list(roots[1].iterdir()) == []
