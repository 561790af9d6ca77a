"""What the server answers beside Streamlit: a run's numbers as the browser asks for them, and its files.

Streamlit takes about a second from the address to the first run of a script. The address of Explore names the run: the
server opens it meanwhile, and the page's text draws it (`first_page.py`).
"""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qs

import streamlit as st
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from analysis.payload import increment, pack_matrix, run_since
from analysis.payload.container import as_json
from assets import ADDRESS, hand_out
from flexlora.run_log import RunLogError
from player.first_page import with_player

_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
# Streamlit would spend a tenth of a second to compress a whole run.
_LARGE = 200_000
_CARDS = threading.Lock()
# Streamlit's caches want a server that runs, hence `runs.store` is imported where it is needed: the first time by
# `lifespan`, before anybody visits.


class Refused(Exception):
    """A request that cannot be answered: status, and why in one line."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


def whole_run(request: Request) -> bytes | None:
    """Answers `lab/run/NAME?since=RECORD&state=STATE`.

    ``since`` is the step of the last record that the reader has, ``state`` what the header of its payload calls so;
    with neither, everything is sent. `analysis.payload.container` says what a reader does with the answer.
    """
    opened, asked = _opened(request), request.query_params
    steps = opened.run.steps
    since = _whole(asked["since"], "since") if "since" in asked else None
    if "state" in asked:
        return increment(opened.payload, asked["state"])
    if since is None:
        return opened.payload
    last = int(steps[-1]) if len(steps) else 0
    if since > last:
        raise Refused(400, f"since={since} is after the last record, which is of step {last}.")
    return run_since(opened.run, opened.payload, since)


def one_card(request: Request) -> bytes:
    """Answers `lab/why/NAME?step=&matrix=`: `analysis.why.why_card`, and the step of the event that it is about."""
    from analysis.why import why_card

    run, asked = _opened(request).run, request.query_params
    step, matrix = _whole(asked.get("step", ""), "step"), _matrix(request, run)
    before = [event["step"] for event in run.events if event["step"] <= step]
    with _CARDS:
        card = why_card(run, step, matrix)
    return as_json({"event": before[-1] if before else None, "matrix": matrix, "card": card})


def one_matrix(request: Request) -> bytes | None:
    """Answers `lab/matrix/NAME?matrix=&state=`: what of the spectrum of a matrix the reader lacks."""
    opened = _opened(request)
    parcel = pack_matrix(opened.run, _matrix(request, opened.run), opened.payload)
    return increment(parcel, request.query_params.get("state", ""))


def one_order(request: Request) -> bytes:
    """Answers `lab/order/NAME?by=similarity`: places of the matrices, one of `analysis.order.SORTS`."""
    # Imported here: the clustering brings scipy, which the first picture does without.
    from analysis.order import SORTS, sorted_matrices

    run, by = _opened(request).run, request.query_params.get("by", "")
    if by not in SORTS:
        raise Refused(400, f"by is one of {', '.join(SORTS)}.")
    return as_json(sorted_matrices(run, by).tolist())


def routes() -> list[Route]:
    """What the server answers beside Streamlit's own addresses."""
    # As Streamlit does at its socket: a page of another name that was pointed at this machine reads nothing.
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=st.get_option("server.allowedHosts") or ["*"])
    answers = {
        "run": (whole_run, "application/octet-stream"),
        "matrix": (one_matrix, "application/octet-stream"),
        "why": (one_card, "application/json"),
        "order": (one_order, "application/json"),
    }
    return [
        Route(f"{_base()}/lab/{name}/{{name:path}}", _endpoint(*answer), middleware=[hosts])
        for name, answer in answers.items()
    ]


def middleware() -> list[Middleware]:
    """What the server puts before Streamlit."""
    return [Middleware(BesideStreamlit)]


@asynccontextmanager
async def lifespan(_app: st.App) -> AsyncIterator[None]:
    """Opens the newcomers' run as soon as the server stands, so that the first visitor waits no longer than others."""
    threading.Thread(target=_begin, args=("",), daemon=True).start()
    yield


class BesideStreamlit:
    """Middleware: hands out the browser's files, and puts the player into the page of Explore."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.page = f"{_base()}/"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request as Streamlit does, but for a file of ours and for the page of a run."""
        path = scope.get("path", "")
        if scope["type"] != "http" or scope["method"] != "GET":
            await self.app(scope, receive, send)
        elif path.startswith(f"{self.page}{ADDRESS}/"):
            await hand_out(path.removeprefix(self.page), scope, receive, send)
        elif path == self.page:
            asked = parse_qs(scope["query_string"].decode("latin-1")).get("run", [""])[0]
            run = await run_in_threadpool(_begin, asked)
            # The page's text depends on the run: a browser that has another is not told to keep it.
            kept = [pair for pair in scope["headers"] if pair[0] not in (b"if-none-match", b"if-modified-since")]
            page = {**scope, "headers": [pair for pair in kept if pair[0] != b"range"], "extensions": {}}
            await self.app(
                page,
                receive,
                _PageSender(send, run, "gzip" in Headers(scope=scope).get("accept-encoding", "")) if run else send,
            )
        else:
            await self.app(scope, receive, send)


class _PageSender:
    """Sends Streamlit's page with the player in it."""

    def __init__(self, send: Send, run: str, packed: bool) -> None:
        self.send = send
        self.run = run
        self.packed = packed
        self.start: Message = {}
        self.text = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 200:
            self.start = message
        elif not self.start or message["type"] != "http.response.body":
            await self.send(message)
        else:
            self.text += message.get("body", b"")
            if not message.get("more_body"):
                await self._finish()

    async def _finish(self) -> None:
        text = with_player(self.text, self.run)
        headers = MutableHeaders(scope=self.start)
        if self.packed:
            text = _packed(text)
            headers["Content-Encoding"] = "gzip"
            headers.add_vary_header("Accept-Encoding")
        for name in ("ETag", "Last-Modified"):
            del headers[name]
        headers["Content-Length"] = str(len(text))
        await self.send(self.start)
        await self.send({"type": "http.response.body", "body": text})


@lru_cache(maxsize=8)
def _packed(text: bytes) -> bytes:
    return gzip.compress(text, 6, mtime=0)


def _endpoint(answer: Callable[[Request], bytes | None], kind: str) -> Callable[[Request], Response]:
    def endpoint(request: Request) -> Response:
        began = time.thread_time()
        try:
            content = answer(request)
        except Refused as refused:
            return PlainTextResponse(str(refused), refused.status, headers=_HEADERS)
        except RunLogError as error:
            return PlainTextResponse(str(error), 404, headers=_HEADERS)
        headers = _HEADERS | {"Server-Timing": f"make;dur={1000 * (time.thread_time() - began):.1f}"}
        if content is None:
            return Response(status_code=204, headers=headers)
        encoding = {"Content-Encoding": "identity"} if len(content) > _LARGE else {}
        return Response(content, media_type=kind, headers=headers | encoding)

    return endpoint


def _opened(request: Request) -> Any:
    from runs.store import load_quietly, resolve_run, run_entries

    entry = resolve_run(request.path_params["name"], run_entries())
    opened = load_quietly(entry) if entry else None
    if opened is None:
        raise Refused(404, "There is no such run.")
    return opened


def _matrix(request: Request, run: Any) -> str:
    matrix = request.query_params.get("matrix", "")
    if matrix not in run.places:
        raise Refused(404, "The run has no such matrix.")
    return matrix


def _whole(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise Refused(400, f"{name} is the step of a record, a whole number from 0 on.")
    return int(text)


def _begin(asked: str) -> str | None:
    """Starts to open the run that a page will show whose address asks for one, or for none; returns its key."""
    from runs.store import chosen_run, load_quietly

    try:
        entry = chosen_run(asked)
    except OSError:
        # A folder that cannot be listed is told by the page.
        return None
    if entry:
        threading.Thread(target=load_quietly, args=(entry,), daemon=True).start()
    return entry.key if entry else None


def _base() -> str:
    base = (st.get_option("server.baseUrlPath") or "").strip("/")
    return f"/{base}" if base else ""
