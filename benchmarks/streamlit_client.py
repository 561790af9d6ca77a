"""A session of a Streamlit app without a browser: the WebSocket as the page's own script speaks it."""

from __future__ import annotations

import asyncio
from urllib.parse import urlencode

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

LARGEST = 64 * 2**20


class StreamlitSession:
    """Runs pages of an app and takes what it sends, parts that ask to be run again every few seconds included.

    What it is told is parsed and dropped: nothing is drawn, and no file of the page is fetched.
    """

    def __init__(self, address: str, cookies: str) -> None:
        self._address, self._cookies = address.replace("http", "ws", 1), cookies
        self._socket: ClientConnection | None = None
        self._finished = asyncio.Event()
        self._again: dict[str, asyncio.Task[None]] = {}
        self._reader: asyncio.Task[None] | None = None
        self._last: tuple[str, str] = ("", "")
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
                    self._again[held.fragment_id] = asyncio.create_task(self._repeat(held.fragment_id, held.interval))
                elif kind == "delta" and message.delta.new_element.WhichOneof("type") == "exception":
                    self.errors.append(message.delta.new_element.exception.message)
        except ConnectionClosed as error:
            self.errors.append(f"The connection was closed: {error}")

    async def _repeat(self, fragment: str, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            await self._ask(fragment)
