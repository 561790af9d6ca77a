"""A run is opened before the page's script can ask for it, and its payload is handed out over HTTP.

Streamlit takes about a second from the address to the first run of a script. The address names the run: the server
opens it meanwhile, and the browser fetches it beside the page's own files. The script's message then carries a link
instead of up to four million bytes.
"""

from __future__ import annotations

import re
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from urllib.parse import parse_qs, urlencode

import streamlit as st
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from player.early_picture import SCRIPT, STREAMLIT, early_script, with_picture

PATH = "lab/run"
_AS_IT_IS = {
    # Streamlit would spend a tenth of a second to compress it.
    "Content-Encoding": "identity",
    # An address names one state of a run, but another version of the Lab may pack it otherwise.
    "Cache-Control": "private, max-age=60",
    "X-Content-Type-Options": "nosniff",
}
# Streamlit's caches and components want a server that runs, hence `data` is imported where it is needed: the first time
# by `lifespan`, before anybody visits.


class HeadStart:
    """Middleware that looks at the address of a page: see the module.

    Attributes:
        serving: A server of this process hands runs out; without one, as in a test of a page, pages send them whole.
    """

    serving = False

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.page = f"{_base()}/"
        HeadStart.serving = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request as Streamlit does; that for Explore also names the run's payload, and draws it."""
        if scope["type"] != "http" or scope["method"] != "GET" or scope["path"] != self.page:
            await self.app(scope, receive, send)
            return
        begun = await run_in_threadpool(_begin, parse_qs(scope["query_string"].decode("latin-1")))
        # The page's text depends on the run: a browser that has another is not told to keep it.
        asked = [pair for pair in scope["headers"] if pair[0] not in (b"if-none-match", b"if-modified-since", b"range")]
        await self.app({**scope, "headers": asked, "extensions": {}}, receive, _PageSender(send, begun))


class _PageSender:
    """Sends Streamlit's page with what the head start adds: links in its header, the early picture in its text."""

    def __init__(self, send: Send, begun: tuple[str, str] | None) -> None:
        self.send = send
        self.begun = begun
        self.start: Message = {}
        self.text = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 200:
            self.start = message
            return
        if not self.start or message["type"] != "http.response.body":
            await self.send(message)
            return
        self.text += message.get("body", b"")
        if message.get("more_body"):
            return
        headers = MutableHeaders(scope=self.start)
        if links := ", ".join(self._links()):
            headers.append("Link", links)
        for name in ("ETag", "Last-Modified"):
            del headers[name]
        if self.begun:
            self.text = with_picture(self.text, *self.begun)
        headers["Content-Length"] = str(len(self.text))
        await self.send(self.start)
        await self.send({"type": "http.response.body", "body": self.text})

    def _links(self) -> Iterator[str]:
        for name in component_scripts():
            yield f"<./static/js/{name}>; rel=modulepreload"
        if self.begun:
            yield f"<./{self.begun[1]}>; rel=preload; as=fetch; crossorigin=anonymous"


def middleware() -> list[Middleware]:
    """What the server puts before Streamlit."""
    return [Middleware(HeadStart)]


def routes() -> list[Route]:
    """What the server answers beside Streamlit's own addresses."""
    # As Streamlit does at its socket: a page of another name that was pointed at this machine reads nothing.
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=st.get_option("server.allowedHosts") or ["*"])
    return [Route(f"{_base()}/{PATH}", _hand_out, middleware=[hosts]), Route(f"{_base()}/{SCRIPT}", _early)]


@asynccontextmanager
async def lifespan(_app: st.App) -> AsyncIterator[None]:
    """Opens the newcomers' run as soon as the server stands, so that the first visitor waits no longer than others."""
    threading.Thread(target=_begin, args=({},), daemon=True).start()
    yield


@cache
def component_scripts() -> tuple[str, ...]:
    """Files of Streamlit that its page asks for one after another once it meets a component; none where not found.

    The page names most of its scripts itself, so that the browser fetches them together; these come last, and the
    player waits for them.
    """
    try:
        named = (STREAMLIT / "index.html").read_text(encoding="utf-8")
        found: list[str] = []
        wanted = [path.name for path in (STREAMLIT / "static" / "js").glob("BidiComponent.*.js")]
        for name in wanted:
            if name not in named and name not in found:
                found.append(name)
                text = (STREAMLIT / "static" / "js" / name).read_text(encoding="utf-8")
                wanted += re.findall(r'(?:from|import)"\./([\w.-]+\.js)"', text)
        return tuple(found)
    except OSError:
        return ()


def run_link(key: str, state: str | None) -> str | None:
    """Address of a run's payload, seen from a page.

    Args:
        key: Of `RunEntry`.
        state: Of `OpenRun`.

    Returns:
        None where the page has to send it: nobody hands it out, or it may still grow.
    """
    return f"{PATH}?{urlencode({'run': key, 'state': state})}" if HeadStart.serving and state else None


def _begin(query: Mapping[str, list[str]]) -> tuple[str, str] | None:
    """Starts to open the run that a page of this address will show; its key, and the address of its payload."""
    from runs.store import chosen_run, load_quietly, run_state

    try:
        entry = chosen_run(query.get("run", [""])[0])
        state = run_state(entry.folder) if entry else None
    except OSError:
        # A folder that cannot be listed is told by the page.
        return None
    if entry is None or state is None:
        return None
    threading.Thread(target=load_quietly, args=(entry,), daemon=True).start()
    link = run_link(entry.key, state)
    return (entry.key, link) if link else None


def _hand_out(request: Request) -> Response:
    """Answers with a payload; a run that is not here, or has changed, is no error of the page: it sends the run."""
    from runs.store import load_quietly, resolve_run, run_entries

    entry = resolve_run(request.query_params.get("run", ""), run_entries())
    opened = load_quietly(entry) if entry else None
    if opened is None or opened.state is None or opened.state != request.query_params.get("state"):
        return PlainTextResponse("There is no such run, or it has changed.", 404)
    return Response(opened.payload, media_type="application/octet-stream", headers=_AS_IT_IS)


def _early(_request: Request) -> Response:
    headers = {**_AS_IT_IS, "Cache-Control": "public, immutable, max-age=31536000"}
    return Response(early_script(), media_type="text/javascript", headers=headers)


def _base() -> str:
    base = (st.get_option("server.baseUrlPath") or "").strip("/")
    return f"/{base}" if base else ""
