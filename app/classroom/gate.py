"""Who is in the class comes in; everybody else is shown where one joins."""

from __future__ import annotations

from urllib.parse import urlencode

from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from classroom.join_page import HEADERS, join_page
from classroom.origin import is_foreign
from classroom.room import Room
from jobs.visitor import browser_of

OUTSIDE = ("/_stcore/health", "/lab/class/join", "/lab/class/leader")
"""What is answered to everybody: whether the server is well, and the two ways in."""
WHY = "This server is a class's. Open its address in a browser and give the code."


class Gate:
    """Middleware before everything else that a server with a class answers, its WebSocket included.

    A page has its place in the address kept, so that a link leads there after one has joined.
    """

    def __init__(self, app: ASGIApp, room: Room, base: str) -> None:
        self.app, self._room, self._base = app, room, base

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers as the server does for members, and refuses for others."""
        if scope["type"] == "websocket":
            await self._socket(scope, receive, send)
        elif scope["type"] != "http" or self._lets_in(scope):
            await self.app(scope, receive, send)
        else:
            await self._refusal(scope)(scope, receive, send)

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A page of another site gets no socket, and one that is open ends when its member is taken out."""
        open_, closes = True, {"type": "websocket.close", "code": 1008, "reason": "Join the class first."}

        def may_stay() -> bool:
            return open_ and self._lets_in(scope)

        async def close() -> None:
            nonlocal open_
            if open_:
                open_ = False
                await send(closes)

        async def heard() -> Message:
            message = await receive()
            if may_stay():
                return message
            await close()
            return {"type": "websocket.disconnect", "code": 1008}

        async def told(message: Message) -> None:
            if may_stay():
                await send(message)
            else:
                await close()

        if is_foreign(HTTPConnection(scope)) or not may_stay():
            await receive()
            await close()
        else:
            await self.app(scope, heard, told)

    def _lets_in(self, scope: Scope) -> bool:
        if scope["path"] in {self._base + path for path in OUTSIDE}:
            return True
        owner = browser_of(HTTPConnection(scope).cookies)
        return owner is not None and owner.key in self._room.state.members

    def _refusal(self, scope: Scope) -> Response:
        asked = HTTPConnection(scope)
        if scope["method"] not in ("GET", "HEAD") or "text/html" not in asked.headers.get("accept", ""):
            return PlainTextResponse(WHY, 401, headers={"Cache-Control": "no-store"})
        query = [(name, value) for name, value in asked.query_params.multi_items() if name != "code"]
        to = scope["path"] + (f"?{urlencode(query)}" if query else "")
        page = join_page(
            self._base,
            self._room.codes.name,
            code=asked.query_params.get("code", "")[:20],
            to=to if len(to) < 2000 else "",
        )
        # Not 401: some browsers would show their own words instead.
        return HTMLResponse(page, 200, headers=HEADERS)
