"""What a class's server answers over HTTP, beside the pages; docs/shared-server.md has the addresses."""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

import streamlit as st
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from classroom.error import ClassError
from classroom.join_page import HEADERS, join_page, leader_page
from classroom.origin import is_foreign
from classroom.progress import check_step
from classroom.room import Room
from classroom.state import answered, led, progressed, seen_by, turned
from flexlora.errors import FlexLoRAError
from jobs.visitor import browser_of

LARGEST = 16_384
"""Bytes of a request; the largest that is meant to come is an address."""
PATIENCE_S = 8.0
"""How long a question for news waits for some. A browser asks again at once."""
_PLAIN = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

Answer = Callable[[Room, Request], Awaitable[Response]]
Change = Callable[[Room, str, Mapping[str, Any]], object]


def routes(base: str, room: Room) -> list[Route]:
    """Return the routes of a class; ``base`` is where the app is, without a slash at its end."""
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=st.get_option("server.allowedHosts") or ["*"])
    found: dict[str, tuple[Answer, str]] = {
        "state": (_state, "GET"),
        "join": (partial(_join, base), "POST"),
        "vote": (partial(_told, _vote), "POST"),
        "progress": (partial(_told, _progress), "POST"),
        "lead": (partial(_told, _lead), "POST"),
        "poll": (partial(_told, _poll), "POST"),
    }
    made = [
        Route(f"{base}/lab/class/{name}", partial(_guarded, answer, room), methods=[method], middleware=[hosts])
        for name, (answer, method) in found.items()
    ]
    leader = Route(
        f"{base}/lab/class/leader", partial(_guarded, partial(_leader, base), room), methods=["GET", "POST"],
        middleware=[hosts],
    )  # fmt: skip
    return [*made, leader]


async def _guarded(answer: Answer, room: Room, request: Request) -> Response:
    """Whatever is wrong is said in one line, and nothing has happened."""
    try:
        if request.method == "POST":
            _check_origin(request)
        return await answer(room, request)
    except ClassError as error:
        return PlainTextResponse(str(error), error.status, headers=_PLAIN)
    except FlexLoRAError as error:
        return PlainTextResponse(str(error), 400, headers=_PLAIN)


async def _state(room: Room, request: Request) -> Response:
    """Answers `lab/class/state?since=N`: `classroom.state.seen_by` when there is news after version N, else 204.

    It waits for news, so that everybody learns of a step at once and nobody asks in vain. `wait=0` asks without.
    """
    since, wait = request.query_params.get("since", "-1"), request.query_params.get("wait", "1")
    if not since.removeprefix("-").isdecimal() or len(since) > 15 or not since.isascii():
        raise ClassError("since is the version of the latest answer, a whole number.")
    told = await room.news(_member(room, request), int(since), 0.0 if wait == "0" else PATIENCE_S)
    return Response(status_code=204, headers=_PLAIN) if told is None else JSONResponse(told, headers=_PLAIN)


async def _told(change: Change, room: Room, request: Request) -> Response:
    """Answers a JSON object that changes the class as `_state` does, with what holds now."""
    key, body = _member(room, request), await _body(request)
    try:
        told = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ClassError("This is no JSON.") from error
    if not isinstance(told, dict):
        raise ClassError("Send a JSON object.")
    await run_in_threadpool(change, room, key, told)
    return JSONResponse(seen_by(room.state, key), headers=_PLAIN)


def _vote(room: Room, key: str, told: Mapping[str, Any]) -> None:
    room.change(answered, key, told.get("poll"), told.get("choice"))


def _progress(room: Room, key: str, told: Mapping[str, Any]) -> None:
    check_step(told)
    room.change(progressed, key, told)


def _lead(room: Room, key: str, told: Mapping[str, Any]) -> None:
    _check_leader(room, key)
    room.change(led, told.get("on"), told.get("page"), told.get("query"))


def _poll(room: Room, key: str, told: Mapping[str, Any]) -> None:
    _check_leader(room, key)
    wanted = {name: told.get(name) for name in ("open", "revealed")}
    if any(value is not None and not isinstance(value, bool) for value in wanted.values()):
        raise ClassError("open and revealed are true or false.")
    room.change(turned, told.get("poll"), **wanted)


async def _join(base: str, room: Room, request: Request) -> Response:
    """Answers the form of the join page: to where one wanted, or the form again with what is wrong."""
    form = await _form(request)
    code, name, to = (form.get(field, "") for field in ("code", "name", "to"))
    page = partial(join_page, base, room.codes.name, code=code[:20], name=name[:200], to=to[:2000])
    return await _entered(base, room, request, page, partial(room.codes.opens, code), name, to)


async def _leader(base: str, room: Room, request: Request) -> Response:
    """Answers the leader's link: a page with a button, and that button."""
    if request.method == "GET":
        token = request.query_params.get("token", "")[:100]
        return HTMLResponse(leader_page(base, room.codes.name, token=token), headers=HEADERS)
    form = await _form(request)
    token, name = form.get("token", ""), form.get("name", "")
    page = partial(leader_page, base, room.codes.name, token=token[:100], name=name[:200])
    return await _entered(base, room, request, page, partial(room.codes.leads, token), name, "", leads=True)


async def _entered(
    base: str,
    room: Room,
    request: Request,
    page: Callable[..., str],
    fits: Callable[[], bool],
    name: str,
    to: str,
    *,
    leads: bool = False,
) -> Response:
    """Let somebody in whose code or token fits, unless too many did not."""
    address = request.client.host if request.client else ""
    owner, what = browser_of(request.cookies), "link" if leads else "code"
    wait_s = room.attempts.wait_s(address)
    try:
        if wait_s > 0:
            raise ClassError(f"Too many wrong codes were tried. Try again in {math.ceil(wait_s)} s.", 429)
        if not fits():
            room.attempts.failed(address)
            raise ClassError(f"This {what} does not fit this class. Look at it again; O, I and S are in no code.", 403)
        if owner is None:
            raise ClassError(
                "This browser keeps no cookie of this server. Allow it cookies, then open this page again."
            )
        await run_in_threadpool(room.join, owner.key, name, leads=leads)
    except ClassError as error:
        return HTMLResponse(page(wrong=str(error)), error.status, headers=HEADERS)
    return RedirectResponse(_own(base, to), 303, headers={"Cache-Control": "no-store"})


def _member(room: Room, request: Request) -> str:
    owner = browser_of(request.cookies)
    if owner is None or owner.key not in room.state.members:
        raise ClassError("You are not in this class. Open its address and give the code.", 401)
    return owner.key


def _check_leader(room: Room, key: str) -> None:
    if not room.leads(key):
        raise ClassError("Only the leader of the class may do that.", 403)


def _check_origin(request: Request) -> None:
    """A page of another site may send a form here, and browsers say from where it came."""
    site = request.headers.get("sec-fetch-site", "same-origin")
    if is_foreign(request) or site not in ("same-origin", "none"):
        raise ClassError("This came from a page of another site.", 403)


async def _body(request: Request) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > LARGEST:
            raise ClassError(f"This is too long: at most {LARGEST:,} bytes.", 413)
        parts.append(part)
    return b"".join(parts)


async def _form(request: Request) -> dict[str, str]:
    body = await _body(request)
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=10))
    except ValueError as error:
        raise ClassError("This is no form.") from error


def _own(base: str, to: str) -> str:
    """Return an address of this app to go on to; whatever else was asked for is its first page."""
    path = to.partition("?")[0]
    safe = to.isprintable() and "\\" not in to and path.startswith(f"{base}/") and not path.startswith("//")
    return to if safe and not path.startswith((f"{base}/lab/", f"{base}/_stcore/")) else f"{base}/"
