"""How far a study is: counts, and when it will be done, as one line on a terminal."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import IO, NamedTuple

from flexlora.study.outcome import Outcome
from flexlora.study.plan import Planned

LINE_INTERVAL_S = 10.0
"""Between lines where standard error is no terminal."""
TOLD_INTERVAL_S = 0.5


class Count(NamedTuple):
    """How much of what is being made is done.

    Attributes:
        what: trials, runs.
        done: how many of them have ended.
        total: how many there are.
        steps: that are done, those of runs under way among them.
    """

    what: str
    done: int
    total: int
    steps: int


class Progress:
    """Thread-safe; ``show`` is called from one thread now and then.

    Args:
        what: is being made: trials, runs.
        runs: all of it.
        finished: names of runs that were done before.
        stream: where the line goes.
        told: is given the count instead, at most every half second.
    """

    def __init__(
        self,
        what: str,
        runs: Sequence[Planned],
        finished: set[str],
        stream: IO[str] | None = None,
        told: Callable[[Count], object] | None = None,
    ) -> None:
        self._what, self._stream, self._told = what, stream or sys.stderr, told
        self._all_steps = sum(run.job.steps for run in runs)
        self._total, self._skipped = len(runs), len(finished)
        self._left = {run.name: run.job.steps for run in runs if run.name not in finished}
        self._steps = sum(self._left.values())
        self._under_way: dict[str, int] = {}
        self._states: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._began = self._shown = time.monotonic()
        self._width = 0

    def step(self, name: str, step: int) -> None:
        """Note how many steps of a run are done; 0 when it begins."""
        with self._lock:
            self._under_way[name] = step

    def done(self, name: str, outcome: Outcome) -> None:
        """Note how a run ended."""
        with self._lock:
            self._left.pop(name, None)
            self._under_way.pop(name, None)
            self._states[outcome.state] += 1

    def count(self) -> Count:
        """Return how much is done."""
        with self._lock:
            done = self._skipped + self._states["completed"] + self._states["diverged"]
            left = sum(self._left.values()) - sum(self._under_way.values())
            return Count(self._what, done, self._total, self._all_steps - left)

    def line(self) -> str:
        """Return what to show."""
        with self._lock:
            done = self._skipped + self._states["completed"] + self._states["diverged"]
            parts = [f"{self._what} {done}/{self._total}"]
            parts += [f"{self._skipped} done before"] * bool(self._skipped)
            parts += [f"{self._states['diverged']} diverged"] * bool(self._states["diverged"])
            parts += [f"{len(self._under_way)} under way"] * bool(self._under_way)
            left = sum(self._left.values()) - sum(self._under_way.values())
        made = self._steps - left
        elapsed = time.monotonic() - self._began
        if left and made > 0:
            parts.append(f"ETA {_clock(elapsed / made * left)}")
        elif not left:
            parts.append(f"{_clock(elapsed)} in all")
        return " · ".join(parts)

    def show(self, *, last: bool = False) -> None:
        """Redraw the line on a terminal; elsewhere write one every ten seconds, and the last."""
        if self._told is not None:
            if last or time.monotonic() - self._shown >= TOLD_INTERVAL_S:
                self._shown = time.monotonic()
                self._told(self.count())
        elif self._stream.isatty():
            line = self.line()
            self._stream.write("\r" + line.ljust(self._width) + ("\n" if last else ""))
            self._stream.flush()
            self._width = len(line)
        elif last or time.monotonic() - self._shown >= LINE_INTERVAL_S:
            self._shown = time.monotonic()
            self._stream.write(self.line() + "\n")
            self._stream.flush()


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
