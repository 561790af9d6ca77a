"""``LoopWatch``: notices that a training loop was left by an exception or an interrupt, which no callback is told."""

from __future__ import annotations

import atexit
import sys
import threading
from collections.abc import Callable
from types import FrameType

from transformers import TrainerCallback

INTERVAL_S = 0.5


class LoopWatch:
    """Looks twice a second whether the loop that calls the callbacks is still on its thread's stack.

    ``left`` is called once, in a thread of its own or when the interpreter ends, with what ended the loop: known where
    it was shown to somebody, as a notebook and the end of a script do. The loop is the innermost
    call that both began the training and makes its steps.
    """

    def __init__(self, left: Callable[[BaseException | None], None]) -> None:
        """Begin to watch; to be called while training begins, by the thread that trains."""
        self._left = left
        self._ident = threading.get_ident()
        self._began = [frame for frame in stack(sys._getframe(1)) if not isinstance(owner(frame), TrainerCallback)]
        trainers = [frame for frame in self._began if hasattr(owner(frame), "callback_handler")]
        # The outermost call of the Trainer, until a step shows which one is the loop.
        self._loop: FrameType | None = trainers[-1] if trainers else None
        self._ended = threading.Event()
        # A script that an exception ends is gone before anybody looks; its exception was shown by then.
        atexit.register(self._leave)
        self._thread = threading.Thread(target=self._look, name="training loop", daemon=True)
        self._thread.start()

    def stepping(self) -> None:
        """Tell that a step begins: the loop is known from the first one on."""
        if self._began:
            here = set(stack(sys._getframe(1)))
            self._loop = next((frame for frame in self._began if frame in here), self._loop)
            self._began = []

    def shown(self) -> BaseException | None:
        """Return the exception that left the loop, where the interpreter has shown it to somebody."""
        for error in (getattr(sys, "last_exc", None), getattr(sys, "last_value", None)):
            trace = getattr(error, "__traceback__", None)
            while trace is not None:
                if trace.tb_frame is self._loop:
                    return error
                trace = trace.tb_next
        return None

    def stop(self) -> None:
        """Look no more."""
        atexit.unregister(self._leave)
        self._ended.set()
        self._loop, self._began = None, []
        if threading.current_thread() is not self._thread:
            # A thread that still ends while the interpreter does can abort the process.
            self._thread.join(INTERVAL_S)

    def _look(self) -> None:
        missed = 0
        while not self._ended.wait(INTERVAL_S):
            loop = self._loop
            if loop is None:
                continue
            top = sys._current_frames().get(self._ident)
            # Twice: a generator that stops while it is looked at has no caller for a moment.
            missed = 0 if loop in stack(top) else missed + 1
            if missed > 1:
                self._leave()
                return

    def _leave(self) -> None:
        self._left(self.shown())


def how_left(step: int, error: BaseException | None) -> tuple[str, str]:
    """Return reason and message of the end of a log whose training was left after a step."""
    told = f"Training was left after step {step}"
    if error is None:
        return "stopped", f"{told}, by an exception or an interrupt."
    if isinstance(error, KeyboardInterrupt):
        return "stopped", f"{told}, by an interrupt."
    return "failed", f"{told}: {type(error).__name__}: {error}"


def stack(frame: FrameType | None) -> list[FrameType]:
    """Return the calls from the innermost on."""
    found = []
    while frame is not None:
        found.append(frame)
        frame = frame.f_back
    return found


def owner(frame: FrameType) -> object:
    """Return the object whose method a call is, None for a function."""
    # Only of methods: looking at the variables of a call may keep them alive for as long as it lasts.
    return frame.f_locals.get("self") if frame.f_code.co_varnames[:1] == ("self",) else None
