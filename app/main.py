"""FlexLoRA Lab: `streamlit run app/main.py`. The server imports this file once; each visit runs it as its script."""

import streamlit as st
from starlette.middleware import Middleware
from streamlit.runtime.scriptrunner import get_script_run_ctx

import assets
from jobs.visitor import BrowserCookie
from player import first_page
from runs import answers

LOGO = """<svg xmlns="http://www.w3.org/2000/svg" width="176" height="28" viewBox="0 0 176 28">
<g transform="translate(1 3)">
<rect width="10" height="10" rx="2" fill="#2b71b3"/><rect x="12" width="10" height="10" rx="2" fill="#79afdc"/>
<rect y="12" width="10" height="10" rx="2" fill="#a9cbea"/>
<rect x="12" y="12" width="10" height="10" rx="2" fill="#de8a3f"/>
</g>
<text x="33" y="20" font-family="sans-serif" font-size="17" font-weight="600" fill="#5f8ea6">FlexLoRA Lab</text>
</svg>"""

# The player fills the window's height; Streamlit's own margins would push its lower half out of sight. Streamlit shows
# where the keyboard is among the pages by a shade of grey that nobody sees.
STYLE = """<style>
.stMainBlockContainer { padding: 3.95rem 1.5rem 1rem; }
.stMainBlockContainer .stVerticalBlock { gap: 0.5rem; }
a[data-testid="stTopNavLink"]:focus-visible { outline: 2px solid; outline-offset: 2px; }
</style>"""

if get_script_run_ctx(suppress_warning=True) is None:
    base = first_page.base_path()
    routes = [first_page.route(base), assets.route(base), *answers.routes(base)]
    app = st.App(__file__, lifespan=first_page.lifespan, middleware=[Middleware(BrowserCookie)], routes=routes)
else:
    # A page can only be made in the run of a script.
    from navigation import pages

    st.set_page_config(page_title="FlexLoRA Lab", layout="wide")
    st.logo(LOGO)
    st.html(STYLE)
    st.navigation(list(pages().values()), position="top").run()
