"""Both ends of the pipes between a parent and its child process, which tell each other one JSON object a line."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

PATIENCE_S = 60.0
"""How long a child whose parent is gone may take to end: a step that never ends must not keep it for ever."""


class Child:
    """The parent's end: a module that runs as a process of its own. Thread-safe, but for ``answers``.

    Args:
        module: dotted name, run by ``python -m``.
        environment: variables of the process; None = those of the parent.
        niceness: how far it gives way to others; 0 = as the parent does.
        own_session: a signal to the parent's terminal does not reach it; it ends when its input does.
    """

    def __init__(
        self,
        module: str,
        *,
        environment: Mapping[str, str] | None = None,
        niceness: int = 0,
        own_session: bool = False,
    ) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the process)
        self._sending = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            encoding="utf-8",
            env=environment,
            start_new_session=own_session,
        )
        if niceness:
            _give_way(self._process.pid, niceness)

    @property
    def lives(self) -> bool:
        """True while the process has not ended."""
        return self._process.poll() is None

    def send(self, message: Mapping[str, Any]) -> bool:
        """Tell it something; False when it is dead, or was closed."""
        try:
            assert self._process.stdin is not None
            with self._sending:
                self._process.stdin.write(json.dumps(message) + "\n")
                self._process.stdin.flush()
        except (OSError, ValueError):
            return False
        return True

    def answers(self) -> Iterator[dict[str, Any]]:
        """Yield what it tells, until it ends or dies."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                answer = json.loads(line)
            except ValueError:
                # Cut short as the process died.
                return
            yield answer

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()

    def close(self) -> str:
        """Let the process end and wait for it; return how it died, or the last line of its standard error."""
        with contextlib.suppress(OSError, ValueError), self._sending:
            assert self._process.stdin is not None
            self._process.stdin.close()
        status = self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        if self._errors.closed:
            return ""
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        self._errors.close()
        if status < 0:
            names = {one.value: one.name for one in signal.Signals}
            return f"It was ended by {names.get(-status, f'signal {-status}')}."
        return lines[-1] if lines else ""


class Answers:
    """The child's end: takes standard output for the answers and lets Ctrl-C be the parent's; make one at the start."""

    def __init__(self) -> None:
        # What a library prints must not get between the lines of the protocol.
        self._stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        # Ctrl-C reaches the whole group; the parent says what to do.
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def __call__(self, content: Mapping[str, Any]) -> None:
        """Write one answer; to a parent that is gone nothing is told, and the end of the other pipe stops the work."""
        try:
            self._stream.write(json.dumps(content) + "\n")
            self._stream.flush()
        except BrokenPipeError:
            return


def listen(heard: Callable[[dict[str, Any] | None], object], stream: IO[str] | None = None) -> None:
    """Hear the parent in a thread: each of its messages, then None once it has closed the pipe or is gone.

    The process ends ``PATIENCE_S`` later at the latest. ``stream``: from where; None = standard input.
    """
    threading.Thread(target=_hear, args=(stream or sys.stdin, heard), name="parent", daemon=True).start()


def _hear(stream: IO[str], heard: Callable[[dict[str, Any] | None], object]) -> None:
    try:
        for line in stream:
            heard(json.loads(line))
    finally:
        heard(None)
    time.sleep(PATIENCE_S)
    os._exit(1)


def _give_way(pid: int, niceness: int) -> None:
    """Let a process come after others; on a system that knows no such thing nothing happens."""
    with contextlib.suppress(AttributeError, OSError):
        os.setpriority(os.PRIO_PROCESS, pid, os.getpriority(os.PRIO_PROCESS, 0) + niceness)
    # Where Linux shares cores out among sessions first, that of the process has a niceness of its own.
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(niceness))
