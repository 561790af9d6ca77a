"""What runs of the script share, and what they must not."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest


def test_no_two_runs_of_the_script_share_a_page():
    """Streamlit keeps in a page whether it may run: of two people who come at once, one got an error instead."""

    def script():
        import streamlit as st

        from navigation import pages

        mine, yours = pages(), pages()
        for made in (mine, yours):
            st.navigation(list(made.values()), position="hidden")
        assert list(mine) == list(yours)
        st.text(sum(page is yours[name] for name, page in mine.items()))

    app = AppTest.from_function(script, default_timeout=30).run()
    assert not app.exception
    assert [text.value for text in app.text] == ["0"]
