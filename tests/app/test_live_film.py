"""The clock behind a growing log: every event is shown, in order, and the film stays close."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

FILM = Path(__file__).resolve().parents[2] / "app" / "player" / "ui" / "live_film.js"
NODE = shutil.which("node")
CASES = 60
FRAME_MS = 1000 / 60
CLOSE_MS = 4500
"""A second's hold, the lag, and what a poll adds."""

pytestmark = pytest.mark.skipif(NODE is None, reason="node runs the player's modules here; it is not installed")


def arrivals_of(rng: random.Random, seconds: float) -> tuple[list[Any], list[int]]:
    """(millisecond, last record, events so far) of a run whose pace changes, stops and goes on, and all its events."""
    rate, interval = 10 ** rng.uniform(-1, 2), rng.randint(1, 30)
    step, at, told, events = 1.0, 0.0, [], []
    while at < 1000 * seconds:
        poll = rng.uniform(250, 1500)
        at += poll
        if rng.random() < 0.05:
            at += rng.uniform(1000, 6000)
        if rng.random() < 0.05:
            rate = 10 ** rng.uniform(-1, 2)
        step += rate * poll / 1000
        events = list(range(interval, int(step) + 1, interval))
        told.append((at, int(step), events))
    return told, events


def frames_of(rng: random.Random, seconds: float) -> list[float]:
    """Milliseconds between frames: mostly sixty a second, now and then a slow one, or a tab that was away."""
    found, at = [], 0.0
    while at < 1000 * seconds:
        odd = rng.random()
        passed = rng.uniform(2000, 20_000) if odd < 0.0005 else rng.uniform(20, 300) if odd < 0.1 else FRAME_MS
        found.append(passed)
        at += passed
    return found


def play(cases: list[dict[str, Any]]) -> dict[str, Any]:
    command = [str(NODE), str(Path(__file__).with_name("live_film.mjs"))]
    asked = json.dumps({"film": str(FILM), "cases": cases})
    told = subprocess.run(command, input=asked, capture_output=True, text=True, timeout=60, check=False)
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout)


@pytest.fixture(scope="module")
def films() -> list[tuple[dict[str, Any], list[int], dict[str, Any]]]:
    """What arrived, all events, and what was shown; at the end there is time for the rest."""
    rng = random.Random(17)
    cases, all_events = [], []
    for number in range(CASES):
        arrivals, events = arrivals_of(rng, 25)
        rest = [FRAME_MS] * (1000 + 2 * len(events))
        frames = frames_of(rng, arrivals[-1][0] / 1000) + rest
        cases.append({"arrivals": arrivals, "frames": frames, "still": number % 4 == 3})
        all_events.append(events)
    return list(zip(cases, all_events, play(cases)["played"], strict=True))


def test_every_event_is_shown_once_in_order_and_the_clock_never_goes_back_nor_beyond_the_log(films):
    for case, events, film in films:
        times = [time for _, time, *_ in film["shot"]]
        assert all(before <= after for before, after in pairwise(times))
        seen = [time for time in times if time in set(events)]
        assert list(dict.fromkeys(seen)) == events
        assert film["shown"] and times[-1] == case["arrivals"][-1][1]
        logged = iter([*case["arrivals"], (float("inf"), 0, [])])
        coming, last = next(logged), 1
        for now, time, *_ in film["shot"]:
            while coming[0] <= now:
                last, coming = coming[1], next(logged)
            assert time <= last


def test_an_event_alone_is_held_for_a_second_and_one_with_others_behind_it_for_less(films):
    held = {}
    for case, events, film in films:
        for event in events:
            own = [now for now, time, *_ in film["shot"] if time == event]
            left = next((now for now, time, *_ in film["shot"] if time > event), own[-1])
            waits = [at for at, _, known in case["arrivals"] if known and known[-1] > event]
            alone = not waits or waits[0] > left
            held.setdefault(alone, []).append(own[-1] - own[0])
    assert len(held[True]) > 50 and len(held[False]) > 1000
    # An odd frame of up to a third of a second, or a tab that was away, counts as a tenth.
    assert min(held[True]) >= 900
    assert sorted(held[False])[len(held[False]) // 2] < 600


def test_nothing_jumps_unless_less_motion_was_asked_for(films):
    for case, events, film in films:
        if case["still"] or not events:
            continue
        for (_, before, *_), (_, after, *_) in pairwise(film["shot"]):
            # Two thirds of the lag of the fastest run in its longest frame.
            assert after - before <= 100 * 10 + 1


def test_once_the_log_slows_down_the_film_is_close_to_it():
    rng = random.Random(5)
    cases = []
    for _ in range(CASES):
        fast, events = arrivals_of(rng, 20)
        at, last, _ = fast[-1]
        # An event every two seconds.
        slow = [(at + 500 * i, last + 5 * i, [*events, *range(last + 20, last + 5 * i + 1, 20)]) for i in range(1, 81)]
        cases.append({"arrivals": [*fast, *slow], "frames": [FRAME_MS] * int((at + 40_000) / FRAME_MS), "still": False})
    for case, film in zip(cases, play(cases)["played"], strict=True):
        behind = [lag for now, _, _, lag, _ in film["shot"] if now > len(case["frames"]) * FRAME_MS - 10_000]
        assert max(behind) < CLOSE_MS
        assert not film["shot"][-1][4]


def test_far_behind_it_says_that_it_catches_up_until_it_has():
    events = list(range(5, 301, 5))
    case = {"arrivals": [(0, 1, []), (20_000, 300, events)], "frames": [FRAME_MS] * 1100 + [20_000] + [FRAME_MS] * 1500}
    shot = play([{**case, "still": False}])["played"][0]["shot"]
    catching = [now for now, *_, behind in shot if behind]
    assert catching and catching[0] - 38_000 < 6000
    assert not shot[-1][4] and shot[-1][1] == 300
    assert len({time for _, time, *_ in shot} & set(events)) == len(events)


def test_who_opens_a_run_in_the_middle_sees_its_latest_events_and_a_young_one_whole():
    assert play([])["opened"] == [1, 1, 1, 10, 320]
