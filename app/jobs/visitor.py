"""Which browser asks: a secret in a cookie, set with the first page that it gets."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping

import streamlit as st
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jobs.owner import Owner

COOKIE = "flexlora_browser"
_AGE_S = 400 * 24 * 3600
"""The longest that browsers keep a cookie."""
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")
_STATE = "visitor_secret"


def visitor() -> Owner:
    """Return who looks at the page: a browser, or one session of a browser that keeps no cookie."""
    browser = browser_of(st.context.cookies)
    return browser or Owner.of(st.session_state.setdefault(_STATE, secrets.token_urlsafe(32)), lasting=False)


def browser_of(cookies: Mapping[str, str]) -> Owner | None:
    """Return the browser that sends these cookies; None for one that keeps none."""
    secret = cookies.get(COOKIE)
    return Owner.of(secret) if isinstance(secret, str) and _SECRET.fullmatch(secret) else None


class BrowserCookie:
    """Middleware that gives a browser its secret with the first page it asks for; no script can read it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers as the server does; a browser that asks for a page and has no secret gets one."""
        if scope["type"] != "http" or scope["method"] != "GET" or not _lacks_secret(HTTPConnection(scope)):
            await self.app(scope, receive, send)
            return
        path = "/" + str(st.get_option("server.baseUrlPath") or "").strip("/")
        cookie = f"{COOKIE}={secrets.token_urlsafe(32)}; Path={path}; Max-Age={_AGE_S}; HttpOnly; SameSite=Lax"
        if scope["scheme"] == "https":
            cookie += "; Secure"

        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.append("Set-Cookie", cookie)
                # What names one browser is kept by no proxy for another.
                headers["Cache-Control"] = "no-store"
            await send(message)

        await self.app(scope, receive, tell)


def _lacks_secret(asked: HTTPConnection) -> bool:
    page = "text/html" in asked.headers.get("accept", "")
    return page and not _SECRET.fullmatch(asked.cookies.get(COOKIE, ""))
