"""FlexLoRA Lab: `streamlit run app/main.py`. The server imports this file once; each visit runs it as its script."""

import streamlit as st
from starlette.middleware import Middleware
from streamlit.runtime.scriptrunner import get_script_run_ctx

import assets
from classroom.room import class_of_server
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
.stMainBlockContainer h1 { font-size: 1.4rem; margin: 0; padding: 0.25rem 0 0; }
.stMainBlockContainer h2 { font-size: 1.1rem; padding: 0.5rem 0 1rem; }
@media (max-width: 1199px) {
  [class*="st-key-beside"] > div > [data-testid="stHorizontalBlock"] { flex-wrap: wrap; }
  [class*="st-key-beside"] > div > [data-testid="stHorizontalBlock"] > [data-testid="stColumn"] { flex: 1 1 100%; }
}
.st-key-compare_study_text textarea { font-family: monospace; font-size: 0.85rem; }
[data-testid="stElementContainer"]:has(.lab-unseen) {
  position: absolute; width: 1px; overflow: hidden; clip-path: inset(50%); }
/* Streamlit's own greys and the white on a light accent are below the contrast that small text needs. */
[data-testid="stCaptionContainer"] { color: inherit; opacity: 0.8; }
:is([data-testid="stMarkdownContainer"], [data-testid="stCaptionContainer"]) code { font-size: 0.86em !important; }
[data-testid="stMultiSelect"] [data-tag] :is(span, button) { color: light-dark(#ffffff, #12171c); }
/* What floats above the page has no colour scheme of its own: these letters are the opposite of the text around. */
[data-testid^="stBaseButton-primary"]:enabled {
  color: light-dark(#ffffff, #12171c);
  color: rgb(from currentColor
    clamp(0, (150 - g) * 9, 255) clamp(0, (150 - g) * 9, 255) clamp(0, (150 - g) * 9, 255)); }
.stPlotlyChart :is([class$="tick"] text, [class$="title"], [class$="title"] text, .gtitle-subtitle, .legendtext) {
  fill: color-mix(in srgb, currentColor 80%, transparent) !important; }
/* Plotly chooses between white and this grey, which is too faint on a colour of middle lightness. */
.stPlotlyChart .heatmap-label text[style*="fill: rgb(68, 68, 68)"] { fill: #000000 !important; }
.st-key-compare_forest .annotation text { fill: color-mix(in srgb, currentColor 80%, transparent) !important; }
[data-testid="stMain"]:focus-visible { outline: 2px solid; outline-offset: -2px; }
a[data-testid="stTopNavLink"]:focus-visible { outline: 2px solid; outline-offset: 2px; }
[data-testid="stMultiSelect"] [role="group"]:has(input:focus-visible) { outline: 2px solid; outline-offset: 1px; }
</style>"""

# Height of the bar of a class, the gap below it included.
CLASS_BAR_REM = 2.6

if get_script_run_ctx(suppress_warning=True) is None:
    base, room = first_page.base_path(), class_of_server()
    routes = [
        *first_page.routes(base, 0.0 if room is None else CLASS_BAR_REM),
        assets.route(base),
        *answers.routes(base),
    ]
    middleware = [Middleware(BrowserCookie)]
    if room is not None:
        from classroom.gate import Gate
        from classroom.routes import routes as class_routes

        # Before `answers`, which takes every other address below lab/.
        routes, middleware = [*class_routes(base, room), *routes], [*middleware, Middleware(Gate, room=room, base=base)]
    app = st.App(__file__, lifespan=first_page.lifespan, middleware=middleware, routes=routes)
else:
    # A page can only be made in the run of a script.
    from navigation import pages

    st.set_page_config(page_title="FlexLoRA Lab", layout="wide")
    st.logo(LOGO)
    st.html(STYLE)
    page = st.navigation(list(pages().values()), position="top")
    if (room := class_of_server()) is not None:
        from classroom.bar import class_bar

        class_bar(room)
    # One title a page. The player fills its page, and so does the reader: there it is only read aloud.
    seen = "lab-title" if page.title not in ("Explore", "Learn", "Playground", "Train") else "lab-unseen"
    st.html(f'<h1 class="{seen}">{page.title}</h1>')
    page.run()
