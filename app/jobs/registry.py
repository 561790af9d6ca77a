"""The job registry: one job of this server trains, the others wait in line; each belongs to somebody."""

from __future__ import annotations

import atexit
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flexlora.controls import Controls
from flexlora.errors import FlexLoRAError
from flexlora.job import new_run_folder
from flexlora.run_log import RunLogError
from jobs import sharing
from jobs.caps import refused_size
from jobs.live import LiveJob, Outcome, Request
from jobs.owner import Owner, may, refusal, write_owner
from jobs.queue_file import Offer, give_back, read_queue, write_queue
from jobs.run_process import RUN_PROCESS
from jobs.study_job import StudyJob, new_study_folder
from jobs.study_process import make_study

MAX_WAITING = 64
PATIENCE_S = 300.0
"""A run that is paused while others wait makes way after this long: its owner may never come back."""
WATCH_S = 5.0

Launch = Callable[[Callable[[], None], str], object]


def _in_thread(work: Callable[[], None], name: str) -> None:
    threading.Thread(target=work, name=name, daemon=True).start()


def train(live: LiveJob) -> None:
    """Train a job to its end, or until its controls say stop.

    A study does so in a process of its own, and in a class a run, too: thirty pages share one interpreter lock.
    """
    if isinstance(live.job, StudyJob):
        make_study(live, live.job)
        return
    if sharing.is_class():
        RUN_PROCESS.train(live, live.job)
        return
    # torch is imported here, when the first job starts, and never before.
    from flexlora.loop import run_job

    request = live.request
    run_job(
        live.job,
        live.folder,
        controls=live.controls,
        parent=request.parent,
        resume=request.folder is not None,
        progress=lambda step, _result: live.finished_step(step),
        report=lambda told: setattr(live, "notice", told),
    )


def loads_torch() -> bool:
    """Return whether a run that begins now has to load torch first, which takes seconds."""
    return not (RUN_PROCESS.warm if sharing.is_class() else "transformers" in sys.modules)


@dataclass(frozen=True)
class Line:
    """What trains, paused or not, and what waits, the next one first.

    ``starts_s``: seconds until each of them starts, None where nobody knows. ``patience_s``: seconds until a pause
    makes way for them, None where nothing pauses in anybody's way.
    """

    running: LiveJob | None
    waiting: tuple[LiveJob, ...]
    starts_s: tuple[float | None, ...]
    patience_s: float | None = None


class Registry:
    """Accepts, lines up, finds and stops the jobs of this server. Thread-safe.

    One trains at a time, because training uses torch's global random generator and all of one core. Whoever comes
    first is served first, and everybody has at most one job that trains or waits. ``worker`` trains one job and raises
    what went wrong; ``launch`` runs a function of its own accord, under a name; ``clock`` counts seconds.
    """

    def __init__(
        self,
        worker: Callable[[LiveJob], None] = train,
        launch: Launch = _in_thread,
        clock: Callable[[], float] = time.monotonic,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._worker, self._launch, self._clock, self._patience_s = worker, launch, clock, patience_s
        self._lock = threading.RLock()
        self._running: LiveJob | None = None
        self._waiting: list[LiveJob] = []
        self._waits_since = 0.0
        self._latest: dict[str, LiveJob] = {}
        self._pace: dict[tuple[str, str], float] = {}
        self._offers: dict[Path, list[Offer]] = {}
        self._closed = False

    def line(self) -> Line:
        """Return what trains and what waits."""
        with self._lock:
            starts: list[float | None] = []
            until = 0.0 if self._running is None else self._left_s(self._running)
            for live in self._waiting:
                starts.append(until)
                left = self._left_s(live)
                until = None if until is None or left is None else until + left
            return Line(self._running, tuple(self._waiting), tuple(starts), self._patience_left_s())

    def of(self, owner: Owner) -> LiveJob | None:
        """Return somebody's job that trains, or the last one that did."""
        return self._latest.get(owner.key)

    def waiting_of(self, owner: Owner) -> LiveJob | None:
        """Return somebody's job that waits."""
        return next((live for live in self._waiting.copy() if live.owner.key == owner.key), None)

    def busy_with(self, owner: Owner) -> LiveJob | None:
        """Return the job that keeps somebody from starting another: the one that waits, else the one that trains."""
        live = self.of(owner)
        return self.waiting_of(owner) or (live if live is not None and live.alive else None)

    def find(self, folder: Path) -> LiveJob | None:
        """Return the job of this server that writes ``folder``, or will; None when there is none."""
        wanted = folder.resolve()
        with self._lock:
            jobs = [*([self._running] if self._running else []), *self._waiting]
            return next((live for live in jobs if live.folder.resolve() == wanted), None)

    def start(self, owner: Owner, request: Request, root: Path, *, replace: bool = False) -> LiveJob:
        """Accept a job: it trains at once when nothing else does, and waits in line otherwise.

        A new run is made below ``root``. ``replace`` stops what the same owner trains, and takes the place of what the
        same owner has in line.

        Raises:
            FlexLoRAError: the owner has a job already, must not resume that run, or the line is full.
        """
        with self._lock:
            self._check(owner, request, replace)
            folder = request.folder or self._new_folder(owner, request, root)
            live = LiveJob(owner, request, folder, self._clock, Controls(paused=request.paused), request.step)
            before, mine = self.waiting_of(owner), self.of(owner)
            if mine is not None and mine.alive:
                mine.controls.send({"command": "stop"})
            self._read_offers(root)
            if not self._waiting:
                self._waits_since = self._clock()
            if before is None:
                self._waiting.append(live)
            else:
                # A place in line belongs to a person, whatever they wait for.
                self._waiting[self._waiting.index(before)] = live
                self._end(before, "cancelled")
            self._next()
            self._keep(root)
            return live

    def cancel(self, owner: Owner) -> None:
        """Take somebody's job out of the line; nothing happens when none waits."""
        with self._lock:
            live = self.waiting_of(owner)
            if live is not None:
                self._waiting.remove(live)
                self._end(live, "cancelled")
                self._keep(live.folder.parent)

    def stop(self, by: Owner, live: LiveJob) -> None:
        """Stop a job that trains, or take one out of the line.

        Raises:
            FlexLoRAError: it is somebody else's.
        """
        if live.launched:
            self.send(by, live, {"command": "stop"})
            return
        if not may(by, "stop", live.owner.key):
            raise FlexLoRAError(f"{live.folder.name} waits for another browser, and only that one may take it back.")
        self.cancel(live.owner)

    def stop_all(self, by: Owner, whose: str | None = None) -> int:
        """Stop everything that trains or waits and that somebody may stop; return how many jobs.

        ``whose``: the key of the only owner whose jobs are stopped; None = everybody's.
        """
        with self._lock:
            # Those that wait come first: none begins meanwhile.
            jobs = [*self._waiting, *([self._running] if self._running else [])]
            mine = [live for live in jobs if may(by, "stop", live.owner.key) and whose in (None, live.owner.key)]
            for live in mine:
                self.stop(by, live)
            return len(mine)

    def send(self, owner: Owner, live: LiveJob, command: dict[str, Any]) -> None:
        """Pass a command to a job that trains.

        Raises:
            FlexLoRAError: the job is somebody else's, or there is no such command.
        """
        name = command.get("command")
        if not may(owner, "steer" if name == "set" else "stop" if name == "stop" else "pause", live.owner.key):
            raise FlexLoRAError(f"{live.folder.name} is trained by another browser, and only that one may steer it.")
        live.controls.send(command)

    def renamed(self, old: Path, new: Path) -> None:
        """Follow a run to its new folder."""
        wanted = old.resolve()
        for live in list(self._latest.values()):
            if live.folder.resolve() == wanted:
                live.folder = new

    def offered(self, owner: Owner, root: Path) -> Request | None:
        """Return what somebody waited for when the last server died."""
        with self._lock:
            return next((offer.request for offer in self._read_offers(root) if offer.owner == owner.key), None)

    def forget_offer(self, owner: Owner, root: Path) -> None:
        """Offer it no more."""
        with self._lock:
            self._offers[root] = [offer for offer in self._read_offers(root) if offer.owner != owner.key]
            self._keep(root)

    def make_way(self) -> None:
        """Stop a run that has been paused for too long while others wait; it can be resumed."""
        with self._lock:
            live, left = self._running, self._patience_left_s()
            if live is not None and left is not None and left <= 0:
                live.made_way = True
                live.notice = (
                    f"It was paused for {self._patience_s / 60:.0f} min while others waited, so it made way. "
                    "Nothing is lost: Resume goes on from here."
                )
                live.controls.send({"command": "stop"})

    def _patience_left_s(self) -> float | None:
        live, now = self._running, self._clock()
        if live is None or live.state != "paused" or not self._waiting:
            return None
        since = live.controls.waiting_since
        return self._patience_s + max(now if since is None else since, self._waits_since) - now

    def close(self, timeout_s: float = 20.0) -> bool:
        """Accept and start nothing more, stop what trains and wait for it; True when nothing trains any more.

        What waits stays in the file of the line: the next server offers it again.
        """
        with self._lock:
            self._closed = True
            live = self._running
        if live is None:
            return True
        live.controls.send({"command": "stop"})
        return live.over.wait(timeout_s)

    def _check(self, owner: Owner, request: Request, replace: bool) -> None:
        if self._closed:
            raise FlexLoRAError("This server is ending. Start it again, then start the run.")
        if sharing.is_outside(owner.key):
            raise FlexLoRAError("You are not in this class any more. Reload this page and give the code to join again.")
        caps = sharing.caps_of(owner.key)
        if caps is not None and (too_large := refused_size(caps, request.job)):
            raise FlexLoRAError(too_large)
        busy = self.busy_with(owner)
        if busy is not None and not replace:
            raise FlexLoRAError(f"Your run {busy.folder.name} is {busy.state}: everybody has one job at a time.")
        if self.waiting_of(owner) is None and len(self._waiting) >= MAX_WAITING:
            raise FlexLoRAError(f"{MAX_WAITING} runs wait already. Try again when the line is shorter.")
        if request.folder is not None:
            if reason := refusal(owner, "resume", request.folder):
                raise FlexLoRAError(reason)
            if self.find(request.folder) is not None:
                raise FlexLoRAError(f"{request.folder.name} is in line or in training already.")

    def _new_folder(self, owner: Owner, request: Request, root: Path) -> Path:
        if isinstance(request.job, StudyJob):
            folder = new_study_folder(root, request.job)
        else:
            folder = new_run_folder(root, request.job, request.parent)
        try:
            write_owner(folder, owner)
        except FlexLoRAError:
            give_back(folder)
            raise
        return folder

    def _next(self) -> None:
        """Start the first in line unless something trains; one that cannot be launched makes room for the next."""
        while self._running is None and self._waiting and not self._closed:
            live = self._waiting.pop(0)
            self._running, live.launched = live, True
            self._latest[live.owner.key] = live
            try:
                self._launch(lambda live=live: self._train(live), f"train {live.folder.name}")
            except RuntimeError as error:
                live.error = f"No thread can be started: {error}"
                self._end(live, "failed")

    def _train(self, live: LiveJob) -> None:
        try:
            self._worker(live)
        except (FlexLoRAError, RunLogError) as error:
            live.error = str(error)
        except BaseException as error:
            # Whatever it was, the next in line must get its turn.
            live.error = f"{type(error).__name__}: {error}"
        with self._lock:
            if pace := live.step_s():
                self._pace[live.job.task, live.job.method] = pace
            self._end(live, "failed" if live.error else "ended")
            self._next()
            self._keep(live.folder.parent)

    def _end(self, live: LiveJob, outcome: Outcome) -> None:
        live.outcome = outcome
        self._running = None if live is self._running else self._running
        if live.request.folder is None:
            give_back(live.folder)
        live.over.set()

    def _left_s(self, live: LiveJob) -> float | None:
        return live.left_s(self._pace.get((live.job.task, live.job.method)))

    def _read_offers(self, root: Path) -> list[Offer]:
        """What an earlier server left: read once, before this one writes there."""
        if root not in self._offers:
            self._offers[root] = read_queue(root)
        return self._offers[root]

    def _keep(self, root: Path) -> None:
        write_queue(root, self._waiting, self._read_offers(root))


def _watch(registry: Registry) -> None:
    while True:
        time.sleep(WATCH_S)
        registry.make_way()


REGISTRY = Registry()
"""Owned by the server process: a rerun, a closed tab or a cleared cache does not touch it."""

_in_thread(lambda: _watch(REGISTRY), "line of jobs")
atexit.register(REGISTRY.close, 5.0)
