"""The room: the class of this server, kept in a file."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

from classroom.attempts import Attempts
from classroom.codes import FOLDER, LOCK, read_codes
from classroom.error import ClassError
from classroom.state import ClassState, joined, led_by, next_version, seen_by
from classroom.text import sendable
from flexlora.errors import FlexLoRAError
from flexlora.run_log.disk import is_locked_elsewhere, put_bytes
from jobs import sharing

NAMED = "FLEXLORA_LAB_CLASS"
"""Set by `flexlora app --class`: this server has a class, at these addresses."""
STATE = "state.json"

Given = ParamSpec("Given")


class Room:
    """A class as one server holds it: in memory to be asked, in ``.class/state.json`` to last. Thread-safe.

    A change is answered when it is in the file, which is replaced whole: whoever kills the server loses nothing that
    somebody was told. Only one server may hold a class.

    Raises:
        FlexLoRAError: it has no codes, another server holds it, or its folder cannot be written.
    """

    def __init__(self, root: Path, clock: Callable[[], float] = time.time) -> None:
        codes = read_codes(root)
        if codes is None:
            raise FlexLoRAError("This class has no codes yet. Start it by: flexlora app --class")
        self.codes, self.folder, self.attempts = codes, root / FOLDER, Attempts()
        self.addresses = os.environ.get(NAMED, "").split()
        self._clock, self._lock = clock, threading.Lock()
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        try:
            self._held = (self.folder / LOCK).open("ab")
        except OSError as error:
            raise FlexLoRAError(f"{self.folder} cannot be written: {error.strerror or error}.") from error
        if is_locked_elsewhere(self._held):
            self._held.close()
            raise FlexLoRAError("Another server holds this class already. Stop it, or use another --runs folder.")
        self.notice = ""
        self._state = led_by(self._read(), codes.leader)
        self._tell_jobs()

    @property
    def state(self) -> ClassState:
        """The class as it is now; the value never changes."""
        return self._state

    def change(
        self, what: Callable[Concatenate[ClassState, Given], ClassState], *given: Given.args, **more: Given.kwargs
    ) -> ClassState:
        """Let something happen to the class; return it afterwards, once it is in the file.

        Raises:
            ClassError: why not, or that the disk takes nothing; then nothing has happened.
        """
        with self._lock:
            before = self._state
            after = what(before, *given, **more)
            if after == before:
                return before
            after = next_version(before, after)
            try:
                put_bytes(self.folder / STATE, json.dumps(after.to_dict()).encode())
            except OSError as error:
                raise ClassError(f"The class cannot be kept: {error.strerror or error}.", 507) from error
            self._state = after
            if (before.members, before.caps) != (after.members, after.caps):
                self._tell_jobs()
        for loop, event in [*self._waiting]:
            with contextlib.suppress(RuntimeError):
                # A loop that has ended has nobody who waits.
                loop.call_soon_threadsafe(event.set)
        return after

    def join(self, key: str, name: object, *, leads: bool = False) -> ClassState:
        """Let somebody in, whose code or token was right."""
        return self.change(joined, key, name, self._clock(), leads=leads)

    def leads(self, key: str) -> bool:
        """Return whether somebody leads the class."""
        member = self._state.members.get(key)
        return member is not None and member.leads

    async def news(self, key: str, since: int, patience_s: float) -> dict[str, Any] | None:
        """Return what a member's browser is told, as soon as that is newer than ``since``; None after ``patience_s``.

        Raises:
            ClassError: that is no member any more.
        """
        waiter = (asyncio.get_running_loop(), asyncio.Event())
        self._waiting.add(waiter)
        until = time.monotonic() + patience_s
        try:
            while True:
                waiter[1].clear()
                if key not in self._state.members:
                    raise ClassError("You are not in this class. Open its address and give the code.", 401)
                told = seen_by(self._state, key)
                # A number from the future is of a class that was taken away.
                if told["version"] != since:
                    return told
                try:
                    await asyncio.wait_for(waiter[1].wait(), until - time.monotonic())
                except TimeoutError:
                    return None
        finally:
            self._waiting.discard(waiter)

    def close(self) -> None:
        """Let another server have the class."""
        self._held.close()
        sharing.forget()

    def _read(self) -> ClassState:
        path = self.folder / STATE
        try:
            return ClassState.of(sendable(json.loads(path.read_bytes())))
        except FileNotFoundError:
            return ClassState()
        except (OSError, ValueError, RecursionError) as error:
            aside = path.with_name(f"{STATE}.{time.time_ns()}.damaged")
            with contextlib.suppress(OSError):
                path.rename(aside)
            self.notice = (
                f"What was kept of the class cannot be read ({error}). It lies in {aside.name}; this one is new."
            )
            return ClassState()

    def _tell_jobs(self) -> None:
        members = self._state.members
        sharing.tell(
            leaders=(key for key, member in members.items() if member.leads),
            names={key: member.name for key, member in members.items()},
            caps=self._state.caps,
        )


_ROOMS: dict[Path, Room] = {}
_OPENING = threading.Lock()


def class_of_server() -> Room | None:
    """Return the class of this server; None when it has none.

    Raises:
        FlexLoRAError: as `Room`.
    """
    if not os.environ.get(NAMED):
        return None
    root = Path(os.environ.get("FLEXLORA_LAB_RUNS") or "runs").absolute()
    with _OPENING:
        if root not in _ROOMS:
            _ROOMS[root] = Room(root)
        return _ROOMS[root]
