"""The page of Explore draws its run before Streamlit stands, which takes a second: its text brings the player."""

from __future__ import annotations

import gzip
import json
import re
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache, lru_cache
from html import escape
from pathlib import Path
from urllib.parse import quote

import streamlit as st
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route
from streamlit.file_util import get_static_dir

from analysis.player_modules import import_map
from assets import ADDRESS

COMPONENT = "player/source/component.js"
EARLY = "player/source/early.js"
_COLOURS = ("primaryColor", "backgroundColor", "secondaryBackgroundColor", "textColor", "borderColor")
# Where the page puts the player, under the bar of pages and the row with the picker: see STYLE in main.py. And what
# Streamlit shows meanwhile: bars in the place of a page, and a ground that is not the theme's yet.
_STYLE = (
    ".lab-early { position: fixed; z-index: 1; inset: calc(7.25rem + var(--lab-bar, 0rem)) 0 0; padding: 0 1.5rem; "
    '--st-font: "Source Sans", sans-serif; --st-code-font: "Source Code", monospace; } '
    "[data-testid=stAppSkeleton] { display: none !important; } "
    "body:has(> .lab-early) .stApp { background: transparent !important; } "
)


def routes(base: str, bar_rem: float = 0.0) -> list[Route]:
    """What the server answers in Streamlit's place.

    ``base`` is where the app is, without a slash at its end; ``bar_rem`` what stands above every page, in rem.
    """

    async def explore(request: Request) -> Response:
        """Streamlit knows its first page by the address without a name only."""
        query = request.url.query
        return RedirectResponse(f"{base}/{query and '?'}{query}", headers={"Cache-Control": "no-cache"})

    async def first(request: Request) -> Response:
        return await _page(request, bar_rem)

    return [Route(f"{base}/", first), Route(f"{base}/explore", explore)]


async def _page(request: Request, bar_rem: float) -> Response:
    """Streamlit's page with the player. It depends on the run, so a browser keeps none."""
    run = await run_in_threadpool(begin, request.query_params.get("run", ""))
    page = Path(get_static_dir(), "index.html").read_bytes()
    text = with_player(page, run, bar_rem) if run else page
    headers = {"Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return HTMLResponse(text, headers=headers)
    return HTMLResponse(_packed(text), headers=headers | {"Content-Encoding": "gzip"})


@asynccontextmanager
async def lifespan(_app: st.App) -> AsyncIterator[None]:
    """Opens the newcomers' run as soon as the server stands, so that the first visitor waits no longer than others."""
    threading.Thread(target=begin, args=("",), daemon=True).start()
    yield


def begin(asked: str) -> str | None:
    """Starts to open the run that a page will show whose address asks for one, or for none; returns its key."""
    # Streamlit's caches want a server that runs: the first time is in `lifespan`, before anybody visits.
    from runs.store import chosen_run, load_quietly

    try:
        entry = chosen_run(asked)
    except OSError:
        # A folder that cannot be listed is told by the page.
        return None
    if entry:
        threading.Thread(target=load_quietly, args=(entry,), daemon=True).start()
    return entry.key if entry else None


def base_path() -> str:
    """Where the app is, without a slash at its end."""
    base = (st.get_option("server.baseUrlPath") or "").strip("/")
    return f"/{base}" if base else ""


def with_player(page: bytes, run: str, bar_rem: float = 0.0) -> bytes:
    """Return Streamlit's page with what draws a run, named by its key, at once; one without a head stays as it is."""
    # First of all: Streamlit's own scripts, which its page names next, take a second.
    own = (
        f'<link rel="preload" as="fetch" crossorigin href="./lab/run/{quote(run)}">{_same_for_all()}'
        f'<script id="lab-early" type="module" async data-run="{escape(run)}">import "{EARLY}";</script>'
        + (f"<style>:root {{ --lab-bar: {bar_rem}rem; }}</style>" if bar_rem else "")
    )
    return page.replace(b"<head>", b"<head>" + own.encode(), 1)


@lru_cache(maxsize=8)
def _packed(text: bytes) -> bytes:
    return gzip.compress(text, 6, mtime=0)


@cache
def _same_for_all() -> str:
    """The modules themselves, as sixty requests would take half a second; and the style of what they draw into."""
    modules = import_map(COMPONENT)
    # Streamlit's element finds the same modules by their address.
    found = json.dumps({"imports": {**modules, f"./{ADDRESS}/{COMPONENT}": modules[COMPONENT]}}, ensure_ascii=False)
    style = f"{_STYLE}{_theme('light', 'white')}@media (prefers-color-scheme: dark) {{ {_theme('dark', 'black')} }}"
    text = found.replace("<", "\\u003c")
    return f'<script type="importmap">{text}</script><style>{style}</style>'


def _theme(kind: str, ground: str) -> str:
    """What Streamlit calls the colours of a theme, and the ground, which is ``ground`` where no theme tells."""
    found = {name: st.get_option(f"theme.{kind}.{name}") or st.get_option(f"theme.{name}") for name in _COLOURS}
    names = (f"--st-{re.sub('(?=[A-Z])', '-', name).lower()}: {value};" for name, value in found.items() if value)
    ground = found["backgroundColor"] or ground
    return f"html, .lab-early {{ background: {ground}; }} .lab-early {{ {' '.join(names)} }} "
