"""The page of Explore draws its run before Streamlit stands: what is put into the page's text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from html import escape
from urllib.parse import quote

import streamlit as st

from analysis.player_modules import import_map
from assets import ADDRESS

COMPONENT = "player/source/component.js"
EARLY = "player/source/early.js"
_COLOURS = ("primaryColor", "backgroundColor", "secondaryBackgroundColor", "textColor", "borderColor")
# Where the page puts the player, under the bar of pages and the row with the picker: see STYLE in main.py. And what
# Streamlit shows meanwhile: bars in the place of a page, and a ground that is not the theme's yet.
_STYLE = (
    ".lab-early { position: fixed; z-index: 1; inset: 7.25rem 0 0; padding: 0 1.5rem; "
    '--st-font: "Source Sans", sans-serif; --st-code-font: "Source Code", monospace; } '
    "[data-testid=stAppSkeleton] { display: none !important; } "
    "body:has(> .lab-early) .stApp { background: transparent !important; } "
)


def with_player(page: bytes, run: str) -> bytes:
    """Return the page's text with what draws a run at once; a page without a head stays as it is.

    Args:
        page: HTML of Streamlit.
        run: Key of `RunEntry`.
    """
    # First of all: Streamlit's own scripts, which its page names next, take a second.
    own = (
        f'<link rel="preload" as="fetch" crossorigin href="./lab/run/{quote(run)}">{_same_for_all()}'
        f'<script id="lab-early" type="module" async data-run="{escape(run)}">import "{EARLY}";</script>'
    )
    return page.replace(b"<head>", b"<head>" + own.encode(), 1)


@cache
def _same_for_all() -> str:
    """The modules themselves, as sixty requests would take half a second; and the style of what they draw into."""
    modules = import_map(COMPONENT)
    # Streamlit's element finds the same modules by their address.
    found = json.dumps({"imports": {**modules, f"./{ADDRESS}/{COMPONENT}": modules[COMPONENT]}}, ensure_ascii=False)
    light, dark = (
        f"html, .lab-early {{ background: {_theme(kind).get('backgroundColor', ground)}; }} "
        f".lab-early {{ {_variables(kind)} }} "
        for kind, ground in (("light", "white"), ("dark", "black"))
    )
    style = f"{_STYLE}{light}@media (prefers-color-scheme: dark) {{ {dark} }}"
    text = found.replace("<", "\\u003c")
    return f'<script type="importmap">{text}</script><style>{style}</style>'


def _variables(kind: str) -> str:
    names = {re.sub("[A-Z]", lambda found: f"-{found[0].lower()}", name): value for name, value in _theme(kind).items()}
    return "".join(f"--st-{name}: {value}; " for name, value in names.items())


def _theme(kind: str) -> Mapping[str, str]:
    found = {name: st.get_option(f"theme.{kind}.{name}") or st.get_option(f"theme.{name}") for name in _COLOURS}
    return {name: str(value) for name, value in found.items() if value}
