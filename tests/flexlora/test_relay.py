"""Controls in two processes: what arrives here is obeyed there, and what became of it there is known here."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexlora.controls import COMMANDS, Controls
from flexlora.errors import FlexLoRAError

ACTS = st.lists(st.sampled_from([*COMMANDS, "connect", "deliver", "tell", "learn", "step", "event"]), max_size=40)


class Pair:
    """A parent's and a child's controls, and what is on its way between them."""

    def __init__(self, *, paused: bool) -> None:
        self.here, self.there = Controls(paused=paused), Controls(paused=paused)
        self.out: deque[dict] = deque()
        self.back: deque[dict] = deque()
        self.connected = False
        self.asked: list[dict] = []
        self.edits: list[dict] = []

    def act(self, name: str) -> None:
        if name in COMMANDS:
            values = {"interval": len(self.asked) + 1}
            self.asked += [values] * (name == "set")
            self.here.send({"command": name, "values": values})
        elif name == "connect" and not self.connected:
            self.connected = True
            self.here.relay(self.out.append)
        elif name == "deliver" and self.out:
            self.there.send(self.out.popleft())
        elif name == "tell":
            self.back.append(self.there.now())
        elif name == "learn" and self.back:
            self.here.mirror(self.back.popleft())
        elif name in ("step", "event") and not (self.there.paused or self.there.stopping):
            self.there.finished_step(name == "event")
        self.edits += self.there.edits()

    def settle(self) -> None:
        for name in ("connect", *["deliver"] * len(self.out)):
            self.act(name)
        while self.out:
            self.act("deliver")
        self.act("tell")
        while self.back:
            self.act("learn")


@given(acts=ACTS, paused=st.booleans())
def test_in_the_end_both_know_the_same_and_each_edit_has_arrived_once(acts, paused):
    pair = Pair(paused=paused)
    for name in acts:
        pair.act(name)
    pair.settle()
    assert pair.here.now()["mode"] == pair.there.now()["mode"]
    assert (pair.here.paused, pair.here.stopping) == (pair.there.paused, pair.there.stopping)
    assert pair.edits == pair.asked and not pair.here.edits()


@given(acts=ACTS)
def test_what_was_just_asked_for_is_not_taken_back_by_older_news(acts):
    pair = Pair(paused=False)
    for name in ("connect", *acts, "tell"):
        pair.act(name)
    pair.here.send({"command": "pause"})
    while pair.back:
        pair.act("learn")
        assert pair.here.paused


def test_a_wait_there_is_a_wait_here_and_its_seconds_are_told():
    pair = Pair(paused=True)
    pair.act("connect")
    pair.here.mirror({"accepted": 1, "mode": "paused", "waited_s": 0.0, "waits": True})
    since = pair.here.waiting_since
    pair.here.mirror({"accepted": 1, "mode": "paused", "waited_s": 0.0, "waits": True})
    assert since is not None and pair.here.waiting_since == since, "a wait that goes on has one beginning"
    pair.here.mirror({"accepted": 1, "mode": "running", "waited_s": 7.5, "waits": False})
    assert (pair.here.waiting_since, pair.here.waited_s) == (None, 7.5) and not pair.here.paused


def test_nothing_is_passed_on_any_more_once_the_run_is_over():
    pair = Pair(paused=False)
    pair.act("connect")
    pair.out.clear()
    pair.here.relay(None)
    pair.here.send({"command": "stop"})
    assert not pair.out and pair.here.stopping


def test_what_is_refused_here_never_leaves():
    pair = Pair(paused=False)
    pair.act("connect")
    pair.out.clear()
    for command in ({"command": "dance"}, {"command": "set"}):
        with pytest.raises(FlexLoRAError):
            pair.here.send(command)
    assert not pair.out
