"""Streamlit's widgets with the options that all pages give them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import streamlit as st

T = TypeVar("T")


def select(label: str, options: Sequence[T], key: str, place: Any = st, **more: Any) -> T:
    """Draw a list that keeps its choice while other pages are visited; return the choice.

    ``place`` is a column or container, if not where the page has come to.
    """
    return place.selectbox(label, options, key=key, persist_state="session", **more)


def switch(
    label: str, options: Sequence[str], key: str, draw: Callable[..., Any] = st.segmented_control, **more: Any
) -> str:
    """Draw buttons of which one is pressed, the first one at first; return its option."""
    more = {"default": options[0], "required": True, "persist_state": "session"} | more
    return draw(label, options, key=key, **more) or options[0]


def act(label: str, key: str, icon: str | None, call: Callable[..., None], *args: object, **more: Any) -> None:
    """Draw a button that calls ``call(*args)`` before the page runs again."""
    st.button(label, key=key, icon=icon, on_click=call, args=args, **more)


def download(label: str, data: bytes | str | Callable[[], Any], name: str, key: str, **more: Any) -> None:
    """Draw a button that saves ``data`` as a file; the page does not run again."""
    more.setdefault("icon", ":material/download:")
    st.download_button(label, data, name, key=key, on_click="ignore", **more)


def upload(label: str, key: str, most_mib: int, place: Any = st, **more: Any) -> list[Any]:
    """Draw a place for files, each at most ``most_mib`` large, or what the server takes if that is less."""
    allowed = min(most_mib, st.get_option("server.maxUploadSize"))
    return place.file_uploader(label, key=key, accept_multiple_files=True, max_upload_size=allowed, **more)


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], object]]:
    """Show a bar while the block runs; yield what moves it to (done, of) matrices."""
    bar = st.progress(0.0, what)
    try:
        yield lambda done, of: bar.progress(done / of, f"{what}: matrix {done} of {of}")
    finally:
        bar.empty()
