"""Members of a class without browsers: HTTP, the bar's long poll, and a session of the app on its WebSocket."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass, field

import httpx2
from streamlit_client import StreamlitSession

RUN = "words-flexlora-paper"
"""What everybody looks at first."""


@dataclass
class Member:
    """A member without a browser."""

    client: httpx2.AsyncClient
    session: StreamlitSession
    seen: list[tuple[int, float]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    at: tuple[str, dict[str, str]] = ("", {})


async def join(address: str, code: str, number: int) -> Member:
    """Join over HTTP, open a session, run the first page."""
    client = httpx2.AsyncClient(base_url=address, timeout=30, follow_redirects=False)
    await client.get("/", headers={"accept": "text/html"})
    answer = await client.post("/lab/class/join", data={"code": code, "name": f"Member {number}"})
    cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    member = Member(client, StreamlitSession(address, cookies))
    if answer.status_code != 303:
        member.faults.append(f"join: {answer.status_code} {answer.text[:80]}")
        return member
    await client.get("/", headers={"accept": "text/html"})
    await member.session.open()
    await go(member, "", {"run": RUN})
    return member


async def start_all(address: str, code: str, seeds: list[int]) -> None:
    """Let a member for each seed put a short job into the line by Train's button, and leave."""
    for seed in seeds:
        member = await join(address, code, seed)
        await member.session.run("train", {}, 60)
        for label, value in (("Task", "Digits (toy)"), ("Steps", 60), ("Seed", seed)):
            await member.session.put(label, value)
        await member.session.press("Start")
        # The page runs again to put the question; so does its answer.
        await asyncio.sleep(2)
        if member.session.has("Wait in line"):
            await member.session.press("Wait in line")
            await asyncio.sleep(2)
        await member.session.close()
        await member.client.aclose()
        if member.session.errors:
            raise RuntimeError(f"seed {seed}: {member.session.errors}")


async def go(member: Member, page: str, query: dict[str, str]) -> None:
    """Show a page, with what its browser fetches of the run."""
    await member.session.run(page, query)
    if not page:
        (await member.client.get(f"/lab/run/{query.get('run', RUN)}")).raise_for_status()
    member.at = (page, query)


async def follow(member: Member) -> None:
    """Keep the long poll open and go where the leader goes, until cancelled."""
    version = -1
    while True:
        try:
            answer = await member.client.get(f"/lab/class/state?since={version}")
        except httpx2.RemoteProtocolError:
            # The server had closed a connection that was kept too long: a browser opens another one.
            continue
        if answer.status_code == 204:
            continue
        answer.raise_for_status()
        told = answer.json()
        version, lead = told["version"], told["lead"]
        page, query = lead["page"], lead["query"]
        if not lead["on"]:
            continue
        if (page, query.get("run")) != (member.at[0], member.at[1].get("run")):
            await go(member, page, query)
        member.seen.append((lead["number"], time.time()))


async def watched(member: Member) -> None:
    """Follow; whatever goes wrong is a fault of the session."""
    try:
        await follow(member)
    except asyncio.CancelledError:
        raise
    except Exception as error:  # every kind of failure counts alike
        member.faults.append(f"{type(error).__name__}: {error}"[:200])


class Crowd:
    """The members without browsers, in a thread with a loop of their own."""

    def __init__(self, address: str, code: str) -> None:
        self._address, self._code = address, code
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._tasks: list[asyncio.Task[None]] = []
        self.members: list[Member] = []

    def come(self, count: int) -> None:
        """All at once."""
        self._do(self._come(count))

    def start(self, seeds: list[int]) -> None:
        """Put a job for each seed into the line."""
        self._do(start_all(self._address, self._code, seeds))

    def leave(self) -> list[str]:
        """All at once; return what went wrong."""
        faults = [fault for member in self.members for fault in (*member.faults, *member.session.errors)]
        self._do(self._leave())
        self.members = []
        return faults

    async def _come(self, count: int) -> None:
        self.members = [*await asyncio.gather(*(join(self._address, self._code, n) for n in range(count)))]
        self._tasks = [asyncio.create_task(watched(member)) for member in self.members]

    async def _leave(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for member in self.members:
            await member.session.close()
            await member.client.aclose()

    def _do(self, work) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(300)
