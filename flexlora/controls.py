"""The command channel of a running job: pause, resume, step, next event, stop, set. Torch-free."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import IO, Any

from flexlora.errors import FlexLoRAError

COMMANDS: dict[str, str] = {
    "pause": "Wait before the next step.",
    "resume": "Go on.",
    "step": "Make one step, then pause.",
    "next_event": "Go on to the next reallocation, then pause.",
    "stop": "End the run after the current step; it can be resumed.",
    "set": 'Change live options from the next step on, all or none: {"command": "set", "values": {key: value, ...}}.',
}
MODES = {"pause": "paused", "resume": "running"}
"""Command → what the loop does from then on; of ``step`` and ``next_event`` both have the same name."""


class Controls:
    """A thread-safe mailbox between whoever steers (page, terminal, parent process) and the training loop.

    Where the loop runs in another process, each has one: what arrives here is passed on by ``relay``, and where the
    loop is comes back by ``mirror``.

    Attributes:
        stopping: True once a stop was asked for.
        waited_s: seconds that the loop has waited while paused, up to its last step.
        waiting_since: ``time.monotonic`` when the pause that lasts now began, None while there is none.
    """

    def __init__(self, *, paused: bool = False) -> None:
        self.stopping = False
        self.waited_s = 0.0
        self.waiting_since: float | None = None
        self._mode = "paused" if paused else "running"
        self._arrived = threading.Condition()
        self._edits: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._accepted = self._relayed = 0
        self._relay: Callable[[dict[str, Any]], object] | None = None

    @property
    def paused(self) -> bool:
        """True while the loop waits, or will wait before its next step."""
        return self._mode == "paused"

    def send(self, command: dict[str, Any]) -> None:
        """Accept one command.

        Raises:
            FlexLoRAError: an unknown command, or ``set`` without values.
        """
        name = command.get("command")
        if name not in COMMANDS:
            raise FlexLoRAError(f"Unknown command {name!r}. Choose one of: {', '.join(COMMANDS)}.")
        with self._arrived:
            if name == "set":
                values = command.get("values")
                if "key" in command and "value" in command:
                    values = {str(command["key"]): command["value"]}
                if not isinstance(values, dict) or not values:
                    raise FlexLoRAError(f'A set command needs "values": {{key: value, ...}}, got {command}.')
                if self._relay is None:
                    self._edits.put({str(key): value for key, value in values.items()})
            elif name == "stop":
                self.stopping = True
            else:
                self._mode = MODES.get(str(name), str(name))
            self._accepted += 1
            self._pass_on(command)
            self._arrived.notify_all()

    def relay(self, to: Callable[[dict[str, Any]], object] | None) -> None:
        """Pass on to another process what holds now and every command that arrives from now on; None = no longer."""
        with self._arrived:
            self._relay, self._relayed = to, 0
            if to is None:
                return
            self._pass_on({"command": {mode: name for name, mode in MODES.items()}.get(self._mode, self._mode)})
            for values in self.edits():
                self._pass_on({"command": "set", "values": values})
            if self.stopping:
                self._pass_on({"command": "stop"})

    def now(self) -> dict[str, Any]:
        """Return where the loop is, as ``mirror`` of the controls that relay to these takes it."""
        with self._arrived:
            waits = self.waiting_since is not None
            return {"accepted": self._accepted, "mode": self._mode, "waited_s": self.waited_s, "waits": waits}

    def mirror(self, there: Mapping[str, Any]) -> None:
        """Take over where the loop in another process is, unless it has not heard the latest command yet."""
        with self._arrived:
            if there["accepted"] == self._relayed:
                self._mode = str(there["mode"])
            self.waited_s = float(there["waited_s"])
            since = self.waiting_since
            self.waiting_since = (time.monotonic() if since is None else since) if there["waits"] else None

    def edits(self) -> list[dict[str, Any]]:
        """Return and forget the ``set`` commands received since the last call, each as option → value."""
        found = []
        while not self._edits.empty():
            found.append(self._edits.get())
        return found

    def wait(self, on_wait: Callable[[], None] | None = None) -> None:
        """Block while paused; return at once when running, stopping or when an edit has arrived.

        Args:
            on_wait: called once, before the first wait.
        """
        with self._arrived:
            if not self._blocked():
                return
            if self.waiting_since is None:
                self.waiting_since = time.monotonic()
            if on_wait is not None:
                on_wait()
            self._arrived.wait_for(lambda: not self._blocked())
            if self._mode != "paused" or self.stopping:
                # An edit interrupts the wait, not the pause.
                self.waited_s += time.monotonic() - self.waiting_since
                self.waiting_since = None

    def finished_step(self, event: bool) -> None:
        """Tell the mailbox that a step is done, so that ``step`` and ``next_event`` pause again."""
        with self._arrived:
            if self._mode == "step" or (self._mode == "next_event" and event):
                self._mode = "paused"

    def _pass_on(self, command: dict[str, Any]) -> None:
        if self._relay is not None:
            self._relayed += 1
            self._relay(command)

    def _blocked(self) -> bool:
        return self._mode == "paused" and not self.stopping and self._edits.empty()


def read_commands(stream: IO[str], controls: Controls, report: Callable[[str], None]) -> threading.Thread:
    """Feed JSON lines from ``stream`` to ``controls`` in a daemon thread; the end of the stream means stop.

    A parent that dies closes the pipe, so its training ends instead of becoming an orphan. ``report`` is called with
    one line for each command that cannot be understood.
    """

    def feed() -> None:
        for line in stream:
            try:
                command = json.loads(line)
                controls.send(command if isinstance(command, dict) else {"command": command})
            except (json.JSONDecodeError, FlexLoRAError) as error:
                report(f"command ignored: {error}")
        controls.send({"command": "stop"})

    thread = threading.Thread(target=feed, name="commands", daemon=True)
    thread.start()
    return thread
