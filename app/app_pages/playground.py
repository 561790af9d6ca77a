"""Playground: paint how much rank each matrix needs, and let two rules race for it; five toys beside it."""

from __future__ import annotations

from playground import playground


def page() -> None:
    """Draws the page."""
    playground("playground_page")
