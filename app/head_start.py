"""A run is opened before the page's script can ask for it, and its payload is handed out over HTTP.

Streamlit takes about a second from the address to the first run of a script. The address names the run: the server
opens it meanwhile, and the browser fetches it beside the page's own files. The script's message then carries a link
instead of up to four million bytes.
"""

from __future__ import annotations

import re
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
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
        """Answers a request as Streamlit does; that for Explore names the run's payload in a header, too."""
        if scope["type"] != "http" or scope["method"] != "GET" or scope["path"] != self.page:
            await self.app(scope, receive, send)
            return
        link = await run_in_threadpool(_begin, parse_qs(scope["query_string"].decode("latin-1")))
        links = [f"<./static/js/{name}>; rel=modulepreload" for name in component_scripts()]
        links += [f"<./{link}>; rel=preload; as=fetch; crossorigin=anonymous"] if link else []

        async def send_with_link(message: Message) -> None:
            if links and message["type"] == "http.response.start":
                MutableHeaders(scope=message).append("Link", ", ".join(links))
            await send(message)

        await self.app(scope, receive, send_with_link)


def middleware() -> list[Middleware]:
    """What the server puts before Streamlit."""
    return [Middleware(HeadStart)]


def routes() -> list[Route]:
    """What the server answers beside Streamlit's own addresses."""
    # As Streamlit does at its socket: a page of another name that was pointed at this machine reads nothing.
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=st.get_option("server.allowedHosts") or ["*"])
    return [Route(f"{_base()}/{PATH}", _hand_out, middleware=[hosts])]


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
    folder = Path(st.__file__).parent / "static"
    try:
        named = (folder / "index.html").read_text(encoding="utf-8")
        found: list[str] = []
        wanted = [path.name for path in (folder / "static" / "js").glob("BidiComponent.*.js")]
        for name in wanted:
            if name not in named and name not in found:
                found.append(name)
                text = (folder / "static" / "js" / name).read_text(encoding="utf-8")
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


def _begin(query: Mapping[str, list[str]]) -> str | None:
    """Starts to open the run that a page of this address will show; the address of its payload."""
    from data import chosen_run, load_quietly, run_state

    entry = chosen_run(query.get("run", [""])[0])
    state = run_state(entry.folder) if entry else None
    if entry is None or state is None:
        return None
    threading.Thread(target=load_quietly, args=(entry,), daemon=True).start()
    return run_link(entry.key, state)


def _hand_out(request: Request) -> Response:
    """Answers with a payload; a run that is not here, or has changed, is no error of the page: it sends the run."""
    from data import load_quietly, resolve_run, run_entries

    entry = resolve_run(request.query_params.get("run", ""), run_entries())
    opened = load_quietly(entry) if entry else None
    if opened is None or opened.state is None or opened.state != request.query_params.get("state"):
        return PlainTextResponse("There is no such run, or it has changed.", 404)
    return Response(opened.payload, media_type="application/octet-stream", headers=_AS_IT_IS)


def _base() -> str:
    base = (st.get_option("server.baseUrlPath") or "").strip("/")
    return f"/{base}" if base else ""
