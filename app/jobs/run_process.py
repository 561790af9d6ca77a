"""``RunProcess``: runs in a process of their own, beside a server that many look at; it ends with the server."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

from flexlora.child import Child
from flexlora.errors import FlexLoRAError
from flexlora.job import Job
from flexlora.policies import find_policy

if TYPE_CHECKING:
    from jobs.live import LiveJob

NICENESS = 2
"""The pages come first; more would let the training wait for every browser on the same machine."""


class RunProcess:
    """Trains one run after the other; a process is started when there is none, and kept for the next run.

    What was imported and loaded for one run is there for the next. Thread-safe: runs at the same time have a process
    each.
    """

    def __init__(self) -> None:
        self._idle: Child | None = None
        self._lock = threading.Lock()
        self.warm = False
        """True once a process has trained: the next run begins without loading torch."""

    def train(self, live: LiveJob, job: Job) -> None:
        """Train a run to its end, or until its controls say stop.

        Raises:
            FlexLoRAError: why it could not begin or go on, in one line.
        """
        child = self._taken()
        try:
            child.send(_asked(live, job))
            live.controls.relay(child.send)
            last = self._follow(live, child)
        except BaseException:
            child.kill()
            child.close()
            raise
        finally:
            live.controls.relay(None)
        if last is None or last.get("leaves"):
            self.warm, told = False, child.close()
            raise FlexLoRAError(str(last["error"]) if last is not None else _died(live, told))
        self._keep(child)
        if "error" in last:
            raise FlexLoRAError(str(last["error"]))

    def close(self) -> None:
        """Let the process that waits for a run end."""
        with self._lock:
            child, self._idle, self.warm = self._idle, None, False
        if child is not None:
            child.close()

    def _taken(self) -> Child:
        with self._lock:
            child, self._idle = self._idle, None
        if child is not None and child.lives:
            return child
        if child is not None:
            child.close()
        self.warm = False
        # A stop of the server reaches it by its input only, so that its run is closed in order.
        return Child("flexlora.served", niceness=NICENESS, own_session=True)

    def _keep(self, child: Child) -> None:
        with self._lock:
            if self._idle is None:
                self._idle = child
                return
        child.close()

    def _follow(self, live: LiveJob, child: Child) -> dict[str, Any] | None:
        """Note how far it is until it ends; return its last word, None where it died without one."""
        for answer in child.answers():
            if "notice" in answer:
                live.notice = str(answer["notice"])
            elif "controls" in answer:
                live.controls.mirror(answer["controls"])
                if answer["step"] is not None and (answer["step"] != live.step or not live.moved):
                    self.warm = True
                    live.finished_step(answer["step"])
            else:
                if answer.get("moved"):
                    live.finished_step(answer["ended"])
                return answer
        return None


def _asked(live: LiveJob, job: Job) -> dict[str, Any]:
    policy = getattr(job.config, "policy", None)
    return {
        "job": job.to_dict(),
        "folder": str(live.folder),
        "parent": live.request.parent,
        "resume": live.request.folder is not None,
        "paused": live.controls.paused,
        "policy": None if policy is None else find_policy(policy).file,
    }


def _died(live: LiveJob, told: str) -> str:
    text = f"The process in which {live.folder.name} trained died. {told}".strip()
    with contextlib.suppress(OSError):
        if any((live.folder / "checkpoint").glob("*.safetensors")):
            return f"{text} Nothing is lost up to its last checkpoint: Resume goes on from there."
    return text


RUN_PROCESS = RunProcess()
"""That of this server."""
