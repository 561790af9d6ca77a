"""The page of Explore draws its run before Streamlit stands, which takes a second: its text brings the player."""

from __future__ import annotations

import gzip
import json
import re
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cache, lru_cache
from html import escape
from urllib.parse import parse_qs, quote

import streamlit as st
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

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


# The page's text depends on the run: a browser that has another is not told to keep it.
_CONDITIONS = (b"if-none-match", b"if-modified-since", b"range", b"accept-encoding")
_REPLACED = (b"etag", b"last-modified", b"content-length")


class FirstPage:
    """Middleware: what Streamlit answers, with the player in the page of Explore."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.page = f"{base_path()}/"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        ours = scope["type"] == "http" and scope["method"] == "GET" and scope["path"] == self.page
        asked = parse_qs(scope["query_string"].decode("latin-1")).get("run", [""])[0] if ours else ""
        run = await run_in_threadpool(begin, asked) if ours else None
        if run is None:
            await self.app(scope, receive, send)
            return
        sent: list[Message] = []

        async def keep(message: Message) -> None:
            sent.append(message)

        plain = [pair for pair in scope["headers"] if pair[0] not in _CONDITIONS]
        await self.app({**scope, "headers": plain, "extensions": {}}, receive, keep)
        text = b"".join(message.get("body", b"") for message in sent[1:])
        status, headers = sent[0]["status"], [pair for pair in sent[0]["headers"] if pair[0] not in _REPLACED]
        if status == 200:
            text = with_player(text, run)
            if "gzip" in Headers(scope=scope).get("accept-encoding", ""):
                text = _packed(text)
                headers += [(b"content-encoding", b"gzip"), (b"vary", b"Accept-Encoding")]
        response = Response(text, status)
        response.raw_headers += headers
        await response(scope, receive, send)


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


@lru_cache(maxsize=8)
def _packed(text: bytes) -> bytes:
    return gzip.compress(text, 6, mtime=0)


@cache
def _same_for_all() -> str:
    """The modules themselves, as sixty requests would take half a second; and the style of what they draw into."""
    modules = import_map(COMPONENT)
    # Streamlit's element finds the same modules by their address.
    found = json.dumps({"imports": {**modules, f"./{ADDRESS}/{COMPONENT}": modules[COMPONENT]}}, ensure_ascii=False)
    light, dark = (
        f"html, .lab-early {{ background: {colours.get('backgroundColor', ground)}; }} .lab-early {{ "
        + "".join(f"--st-{re.sub('[A-Z]', _lower, name)}: {value}; " for name, value in colours.items())
        + "} "
        for colours, ground in ((_theme("light"), "white"), (_theme("dark"), "black"))
    )
    style = f"{_STYLE}{light}@media (prefers-color-scheme: dark) {{ {dark} }}"
    text = found.replace("<", "\\u003c")
    return f'<script type="importmap">{text}</script><style>{style}</style>'


def _lower(capital: re.Match[str]) -> str:
    return f"-{capital[0].lower()}"


def _theme(kind: str) -> Mapping[str, str]:
    found = {name: st.get_option(f"theme.{kind}.{name}") or st.get_option(f"theme.{name}") for name in _COLOURS}
    return {name: str(value) for name, value in found.items() if value}
