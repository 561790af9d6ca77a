"""The end of a pipe on which a child process answers its parent, one JSON object a line."""

from __future__ import annotations

import json
import os
import signal
from typing import Any


class Answers:
    """Takes standard output for the answers and lets Ctrl-C be the parent's; make one as the process begins."""

    def __init__(self) -> None:
        # What a library prints must not get between the lines of the protocol.
        self._stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        # Ctrl-C reaches the whole group; the parent says what to do.
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def __call__(self, content: dict[str, Any]) -> None:
        """Write one answer; to a parent that is gone nothing is told, and the end of the other pipe stops the work."""
        try:
            self._stream.write(json.dumps(content) + "\n")
            self._stream.flush()
        except BrokenPipeError:
            return
