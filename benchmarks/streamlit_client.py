"""A session of a Streamlit app without a browser: the WebSocket as the page's own script speaks it."""

from __future__ import annotations

import asyncio
import contextlib
from urllib.parse import urlencode

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.Element_pb2 import Element
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

WIDGETS = ("button", "number_input", "selectbox")
LARGEST = 64 * 2**20


class StreamlitSession:
    """Runs pages of an app and takes what it sends, parts that ask to be run again every few seconds included.

    What it is told is parsed and dropped but for the labels of widgets: nothing is drawn, and no file of the page is
    fetched.
    """

    def __init__(self, address: str, cookies: str) -> None:
        self._address, self._cookies = address.replace("http", "ws", 1), cookies
        self._socket: ClientConnection | None = None
        self._finished = asyncio.Event()
        self._again: dict[str, asyncio.Task[None]] = {}
        self._reader: asyncio.Task[None] | None = None
        self._last: tuple[str, str] = ("", "")
        self._ids: dict[str, str] = {}
        self._states: dict[str, WidgetState] = {}
        self.errors: list[str] = []

    async def open(self) -> None:
        """Connect."""
        self._socket = await connect(
            f"{self._address}/_stcore/stream",
            additional_headers={"Cookie": self._cookies},
            subprotocols=["streamlit"],  # type: ignore[list-item]
            max_size=LARGEST,
            open_timeout=30,
        )
        self._reader = asyncio.create_task(self._read())

    async def run(self, page: str, query: dict[str, str], timeout_s: float = 30.0) -> None:
        """Run a page, and wait until its script has ended."""
        self._last = (page, urlencode(query))
        self._ids.clear()
        self._states.clear()
        await self._again_and_wait(timeout_s)

    async def put(self, label: str, value: int | str, timeout_s: float = 60.0) -> None:
        """Give the widget of a label a value, and wait until the page has run with it."""
        state = WidgetState(id=self._ids[label])
        if isinstance(value, int):
            state.int_value = value
        else:
            state.string_value = value
        self._states[state.id] = state
        await self._again_and_wait(timeout_s)

    async def press(self, label: str, timeout_s: float = 60.0) -> None:
        """Press the button of a label, and wait until the page has run with it."""
        state = WidgetState(id=self._ids[label], trigger_value=True)
        self._states[state.id] = state
        try:
            await self._again_and_wait(timeout_s)
        finally:
            del self._states[state.id]

    def has(self, label: str) -> bool:
        """Return whether the page has had a widget of that label since it was opened."""
        return label in self._ids

    async def _again_and_wait(self, timeout_s: float) -> None:
        for task in self._again.values():
            task.cancel()
        self._again.clear()
        self._finished.clear()
        await self._ask()
        await asyncio.wait_for(self._finished.wait(), timeout_s)

    async def close(self) -> None:
        """Leave, as a closed tab does."""
        for task in (*self._again.values(), *([self._reader] if self._reader else [])):
            task.cancel()
        if self._socket is not None:
            await self._socket.close()

    async def _ask(self, fragment: str = "") -> None:
        assert self._socket is not None
        page, query = self._last
        message = BackMsg()
        message.rerun_script.query_string = query
        message.rerun_script.page_name = page
        message.rerun_script.widget_states.widgets.extend(self._states.values())
        if fragment:
            message.rerun_script.fragment_id = fragment
            message.rerun_script.is_auto_rerun = True
        await self._socket.send(message.SerializeToString())

    async def _read(self) -> None:
        assert self._socket is not None
        try:
            async for data in self._socket:
                message = ForwardMsg.FromString(data if isinstance(data, bytes) else data.encode())
                kind = message.WhichOneof("type")
                if kind == "script_finished":
                    self._finished.set()
                elif kind == "auto_rerun":
                    held = message.auto_rerun
                    if (before := self._again.get(held.fragment_id)) is not None:
                        before.cancel()
                    self._again[held.fragment_id] = asyncio.create_task(self._repeat(held.fragment_id, held.interval))
                elif kind == "delta":
                    self._note(message.delta.new_element)
        except ConnectionClosed as error:
            self.errors.append(f"The connection was closed: {error}")

    def _note(self, element: Element) -> None:
        kind = element.WhichOneof("type")
        if kind == "exception":
            self.errors.append(element.exception.message)
        elif kind in WIDGETS:
            widget = getattr(element, kind)
            self._ids[widget.label] = widget.id

    async def _repeat(self, fragment: str, every_s: float) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                await asyncio.sleep(every_s)
                await self._ask(fragment)
