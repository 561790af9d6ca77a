"""The job registry: one training job in this server process, whoever looks at it."""

from __future__ import annotations

import atexit
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flexlora.controls import Controls
from flexlora.errors import FlexLoRAError
from flexlora.job import Job
from flexlora.run_log import RunLogError

STOP_TIMEOUT_S = 20.0


@dataclass
class LiveJob:
    """A job that this server started.

    Attributes:
        job: what is trained.
        folder: its run log; everything a page shows comes from there.
        controls: its mailbox.
        step: finished optimizer steps.
        error: why it could not start or go on, one line.
        thread: the worker; training has ended when it is no longer alive.
        first_step_at: when the first step of this start was done, by ``time.monotonic``.
    """

    job: Job
    folder: Path
    controls: Controls
    step: int = 0
    error: str | None = None
    thread: threading.Thread | None = None
    first_step_at: float | None = None
    first_step: int = 0
    started_at: float = field(default_factory=time.monotonic)

    @property
    def alive(self) -> bool:
        """True while the worker runs, paused or not."""
        return self.thread is not None and self.thread.is_alive()

    @property
    def state(self) -> str:
        """One of loading, running, paused, stopping, ended."""
        if not self.alive:
            return "ended"
        if self.controls.stopping:
            return "stopping"
        if self.first_step_at is None and not self.controls.paused:
            return "loading"
        return "paused" if self.controls.paused else "running"

    def eta_s(self) -> float | None:
        """Return the seconds left at the pace so far, or None before there is one."""
        done = self.step - self.first_step
        if self.first_step_at is None or done < 1:
            return None
        return (time.monotonic() - self.first_step_at) / done * (self.job.steps - self.step)


class Registry:
    """Starts, finds and stops the one in-process job.

    One at a time, because training uses torch's global random generator and all of one core.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._current: LiveJob | None = None

    @property
    def current(self) -> LiveJob | None:
        """The job that runs, or the last one that did."""
        return self._current

    def start(
        self, job: Job, folder: Path, *, parent: str | None = None, resume: bool = False, paused: bool = False
    ) -> LiveJob:
        """Start a job in a worker thread.

        Raises:
            FlexLoRAError: another job is still training.
        """
        with self._lock:
            if self._current is not None and self._current.alive:
                raise FlexLoRAError(
                    f"{self._current.folder.name} is still training. Stop it first; its log and checkpoint are kept."
                )
            live = LiveJob(job, folder, Controls(paused=paused))
            live.thread = threading.Thread(
                target=_work, args=(live, parent, resume), name=f"train {folder.name}", daemon=True
            )
            self._current = live
            live.thread.start()
            return live

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> bool:
        """Ask the current job to stop and wait for it; True when nothing trains any more."""
        live = self._current
        if live is None or live.thread is None:
            return True
        live.controls.send({"command": "stop"})
        live.thread.join(timeout_s)
        return not live.alive

    def find(self, folder: Path) -> LiveJob | None:
        """Return the job that writes ``folder`` now, if this server trains it."""
        live = self._current
        return live if live is not None and live.alive and live.folder.resolve() == folder.resolve() else None


def _work(live: LiveJob, parent: str | None, resume: bool) -> None:
    def progress(step: int, _result: Any) -> None:
        if live.first_step_at is None:
            live.first_step_at, live.first_step = time.monotonic(), step
        live.step = step

    try:
        # torch is imported here, when the first job starts, and never before.
        from flexlora.loop import run_job

        run_job(live.job, live.folder, controls=live.controls, parent=parent, resume=resume, progress=progress)
    except (FlexLoRAError, RunLogError) as error:
        live.error = str(error)
    except Exception as error:
        live.error = f"{type(error).__name__}: {error}"


REGISTRY = Registry()
"""Owned by the server process: a rerun, a closed tab or a cleared cache does not touch it."""

atexit.register(REGISTRY.stop, 5.0)
