"""The cookie that tells browsers apart, at the level of the protocol."""

from __future__ import annotations

import asyncio
import re

import pytest

from jobs.visitor import COOKIE, BrowserCookie

HELD = f"{COOKIE}={'a' * 43}"
PAGE = {"accept": "text/html,application/xhtml+xml"}


def ask(headers: dict[str, str], **scope) -> dict[str, str]:
    """What the server answers, as header name → value."""
    answered: list[dict] = []

    async def app(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"cache-control", b"no-cache")]})
        await send({"type": "http.response.body", "body": b"page"})

    async def send(message):
        answered.append(message)

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    asked = {"type": "http", "method": "GET", "scheme": "http", "path": "/train", "headers": raw, **scope}
    asyncio.run(BrowserCookie(app)(asked, None, send))
    assert answered[1]["body"] == b"page"
    return {name.decode(): value.decode() for name, value in answered[0]["headers"]}


def secret(headers: dict[str, str]) -> str:
    found = re.match(rf"{COOKIE}=([\w-]{{43}}); ", headers["set-cookie"])
    assert found
    return found[1]


def test_a_browser_gets_a_secret_of_its_own_with_its_first_page():
    first, second = ask(PAGE), ask(PAGE)
    assert secret(first) != secret(second)
    assert "HttpOnly" in first["set-cookie"] and "SameSite=Lax" in first["set-cookie"]
    assert first["cache-control"] == "no-store", "no proxy gives it to somebody else"
    assert "Secure" not in first["set-cookie"]
    assert "Secure" in ask(PAGE, scheme="https")["set-cookie"]


@pytest.mark.parametrize("cookie", [HELD, f"other=1; {HELD}", f"bad cookie; a=b=c; {HELD}"])
def test_one_that_has_a_secret_keeps_it(cookie):
    assert ask({**PAGE, "cookie": cookie}) == {"cache-control": "no-cache"}


@pytest.mark.parametrize("cookie", [f"{COOKIE}=", f"{COOKIE}=short", f"{COOKIE}={'a' * 44}", f"x{HELD}"])
def test_what_is_no_secret_is_replaced(cookie):
    assert secret(ask({**PAGE, "cookie": cookie}))


def test_what_is_no_page_gets_none():
    assert "set-cookie" not in ask({"accept": "*/*"})
    assert "set-cookie" not in ask(PAGE, method="HEAD")
