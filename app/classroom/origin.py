"""From which page a browser asks."""

from __future__ import annotations

from starlette.requests import HTTPConnection


def is_foreign(asked: HTTPConnection) -> bool:
    """Return whether a page of another host or port asks; who sends no ``Origin`` is no page."""
    origin = asked.headers.get("origin")
    return origin is not None and origin.partition("://")[2] != asked.headers.get("host", "")
