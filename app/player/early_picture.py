"""The picture that stands before Streamlit's page: what is put into the page's text, and the script it asks for."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import cache
from html import escape
from pathlib import Path

import streamlit as st

from analysis.player_script import FOLDER, joined_modules

SCRIPT = "lab/early.js"
STREAMLIT = Path(st.__file__).parent / "static"
_COLOURS = ("primaryColor", "backgroundColor", "secondaryBackgroundColor", "textColor", "borderColor")
# Where the page puts the player: under the bar of pages and the row with the picker. See STYLE in main.py.
_PLACE = ".lab-early { position: fixed; z-index: 1; inset: 7.25rem 0 0; padding: 0 1.5rem; }"
# What Streamlit shows meanwhile: bars in the place of a page, and a ground that is not the theme's yet.
_MEANWHILE = (
    "[data-testid=stAppSkeleton] { display: none !important; } "
    "body:has(> .lab-early) .stApp { background: transparent !important; }"
)


def with_picture(page: bytes, run: str, source: str) -> bytes:
    """Returns the page's text with what draws a run at once.

    Args:
        page: HTML of Streamlit.
        run: Key of `RunEntry`.
        source: Address of the run's payload.
    """
    # First of all, and at once: Streamlit's own scripts, which its page names next, take a second.
    own = (
        f'<script id="lab-early" type="module" async fetchpriority="high" src="./{SCRIPT}?{_version()}"'
        f' data-run="{escape(run)}" data-source="{escape(source)}"></script>'
        f"<style>{_page_style()}</style>"
        f'<template id="lab-early-style"><style>{_player_style()}</style></template>'
    )
    return page.replace(b"<head>", b"<head>" + own.encode(), 1)


@cache
def early_script() -> str:
    """Returns the player with what draws it early, as one script."""
    return joined_modules("player/source/early")


@cache
def _player_style() -> str:
    """The player's style with what Streamlit's themes give it later."""
    light, dark = (f":host {{ {_variables(kind)} }}" for kind in ("light", "dark"))
    own = (FOLDER / "player/player.css").read_text(encoding="utf-8")
    return f"{light}\n@media (prefers-color-scheme: dark) {{ {dark} }}\n{own}"


@cache
def _version() -> str:
    return hashlib.blake2s(early_script().encode(), digest_size=6).hexdigest()


@cache
def _page_style() -> str:
    """The place of the picture, the ground of a dark page, and the font, which Streamlit's page names only later."""
    named = re.search(r'href="\./(static/media/SourceSansVF-Upright[^"]*)"', _index())
    font = (
        f'@font-face {{ font-family: "Source Sans"; font-weight: 200 900; src: url("./{named[1]}"); }}' if named else ""
    )
    light, dark = (
        f"html, .lab-early {{ background: {_theme(kind).get('backgroundColor', ground)}; }}"
        for kind, ground in (("light", "white"), ("dark", "black"))
    )
    return f"{_PLACE} {_MEANWHILE} {light} @media (prefers-color-scheme: dark) {{ {dark} }} {font}"


def _variables(kind: str) -> str:
    names = {re.sub("[A-Z]", lambda found: f"-{found[0].lower()}", name): value for name, value in _theme(kind).items()}
    fonts = '--st-font: "Source Sans", sans-serif; --st-code-font: "Source Code", monospace;'
    return "".join(f"--st-{name}: {value}; " for name, value in names.items()) + fonts


def _theme(kind: str) -> Mapping[str, str]:
    found = {name: st.get_option(f"theme.{kind}.{name}") or st.get_option(f"theme.{name}") for name in _COLOURS}
    return {name: str(value) for name, value in found.items() if value}


@cache
def _index() -> str:
    try:
        return (STREAMLIT / "index.html").read_text(encoding="utf-8")
    except OSError:
        return ""
