"""The Playground's page headless: it opens, and stands where the contract has it."""

from __future__ import annotations

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
