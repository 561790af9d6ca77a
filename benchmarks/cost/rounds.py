"""Interleaved rounds: every contestant takes some steps in each, the first one another every round."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from cost.meter import GIB, Segment, alone, busy, clear, graphs_made, run_steps, weight_bytes
from cost.peers import Contestant, build
from cost.shapes import Shape

MARGIN = 24 * GIB
"""Left free on a GPU for the activations of whoever is measured."""


@dataclass
class Found:
    """What was measured of one contestant.

    Attributes:
        name: of the contestant.
        segments: one a round.
        warm_up: before the first round; its graphs are those that the compiler has to make.
        measures: kernels, bytes, FLOPs, where they were asked for.
        failed: why there is nothing, in one line; empty otherwise.
        told: what else has to be known of its numbers; mostly empty.
    """

    name: str
    segments: list[Segment] = field(default_factory=list)
    warm_up: Segment = field(default_factory=Segment)
    measures: dict[str, Any] = field(default_factory=dict)
    failed: str = ""
    told: str = ""


@dataclass
class Plan:
    """What to measure.

    Attributes:
        shape, device, names: of whom.
        rounds, steps: how many of each; ``steps`` in one round.
        with_memory, with_busy: also measure each alone; also profile each.
        deadline: ``time.monotonic()`` after which nothing more is built and no round begins, or None.
    """

    shape: Shape
    device: torch.device
    names: Sequence[str]
    rounds: int
    steps: int
    with_memory: bool = False
    with_busy: bool = False
    deadline: float | None = None

    @property
    def warm(self) -> int:
        """Steps before the first round: an event is among them, unless events are far apart."""
        return min(self.shape.interval, 20) + 2


class Field:
    """The contestants of a plan, all alive at once if they fit; else each is built anew whenever it is its turn.

    Frozen matrices of the base are equal in all of them, and kept once.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.found = {name: Found(name) for name in plan.names}
        self.alive: dict[str, Contestant] = {}
        self.shared: dict[str, Tensor] = {}
        self.anew = self.frozen = False

    def measure_alone(self) -> None:
        """Measure memory, saved bytes and FLOPs of each, before the others are built."""
        for place, name in enumerate(self._standing()):
            if place and self._late(name):
                continue
            log(f"{name}: alone")
            self._guarded(name, lambda name=name: self._measure_alone(name))

    def prepare(self) -> None:
        """Build and warm up every contestant."""
        for name in self._standing():
            if not self.anew and not self._fits():
                log("they do not fit beside each other: each is built anew in every round")
                self.anew = True
                self.alive.clear()
                clear(self.plan.device)
            if self.anew:
                break
            if self.alive and self._late(name):
                continue
            self._guarded(name, lambda name=name: self._warm(name))
        # What stays alive to the end is not looked through again by the collector, in anybody's step.
        gc.collect()
        self.frozen = not gc.get_freeze_count()
        if self.frozen:
            gc.freeze()

    def run(self) -> int:
        """Run the rounds; return how many were whole."""
        began = time.monotonic()
        for number in range(self.plan.rounds):
            spent = (time.monotonic() - began) / number if number else 0.0
            if number and self.plan.deadline is not None and time.monotonic() + spent > self.plan.deadline:
                return number
            names = self._standing()
            for place in range(len(names)):
                name = names[(place + number) % len(names)]
                self._guarded(name, lambda name=name: self._turn(name))
            log(f"round {number + 1} of {self.plan.rounds}")
        return self.plan.rounds

    def profile(self) -> None:
        """Count kernels and busy time of each."""
        for name in self._standing():
            self._guarded(name, lambda name=name: self._profile(name))

    def close(self) -> None:
        """Let go of everything."""
        self.alive.clear()
        self.shared.clear()
        if self.frozen:
            gc.unfreeze()
        clear(self.plan.device)

    def _late(self, name: str) -> bool:
        """True when time is up; whoever is not built by then is told so."""
        deadline = self.plan.deadline
        if deadline is None or time.monotonic() < deadline:
            return False
        self.found[name].failed = "not begun in time (--budget)"
        return True

    def _standing(self) -> list[str]:
        return [name for name, found in self.found.items() if not found.failed]

    def _guarded(self, name: str, act: Callable[[], object]) -> None:
        try:
            act()
        except Exception as error:
            # Whatever a peer throws is its row's result; the others are still measured.
            self.found[name].failed = one_line(error)
            self.found[name].segments.clear()
            log(f"{name}: {self.found[name].failed}")
            self.alive.pop(name, None)
        if self.found[name].failed:
            clear(self.plan.device)

    def _measure_alone(self, name: str) -> None:
        plan = self.plan
        self.found[name].measures |= alone(lambda: build(name, plan.shape, plan.device), plan.warm, plan.device)

    def _warm(self, name: str) -> Contestant:
        began = time.perf_counter()
        contestant = build(name, self.plan.shape, self.plan.device, self.shared)
        made = graphs_made(contestant) if "+graph" in name else 0
        warm = run_steps(contestant, self.plan.warm, self.plan.device)
        warm.graphs += made
        if not self.found[name].warm_up.step_ms:
            self.found[name].warm_up = warm
        log(f"{name}: ready after {time.perf_counter() - began:.1f} s")
        self.alive[name] = contestant
        return contestant

    def _turn(self, name: str) -> None:
        with self._at_hand(name) as contestant:
            # One step brings its weights back into the caches.
            run_steps(contestant, 1, self.plan.device)
            self.found[name].segments.append(run_steps(contestant, self.plan.steps, self.plan.device))
            told = getattr(contestant.replay, "told", None)
            self.found[name].told = f"the last step was not replayed: {told}" if told else ""

    def _profile(self, name: str) -> None:
        with self._at_hand(name) as contestant:
            # No event in the steps that follow, if the interval leaves room for them.
            while contestant.allocate and contestant.t % contestant.interval:
                run_steps(contestant, 1, self.plan.device)
            self.found[name].measures |= busy(contestant)

    @contextmanager
    def _at_hand(self, name: str) -> Iterator[Contestant]:
        yield self.alive[name] if name in self.alive else self._warm(name)
        if self.anew:
            del self.alive[name]
            clear(self.plan.device)

    def _fits(self) -> bool:
        if self.plan.device.type != "cuda" or not self.alive:
            return True
        clear(self.plan.device)
        free, total = torch.cuda.mem_get_info()
        largest = max(weight_bytes(contestant.model) for contestant in self.alive.values())
        return free > 1.15 * largest + min(MARGIN, total // 5)


def one_line(error: BaseException) -> str:
    """Return the error's type and first line, not too long for a table."""
    text = str(error).strip().splitlines()
    first = text[0] if text else ""
    return first if first.startswith("not available") else f"{type(error).__name__}: {first}"[:200]


def log(line: str) -> None:
    """Tell whoever waits."""
    print(line, file=sys.stderr, flush=True)
