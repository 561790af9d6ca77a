"""The playground's races: lanes see the same data, slices and pace, orders and errors, with and without a worker."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
NODE = shutil.which("node")

pytestmark = pytest.mark.skipif(NODE is None, reason="node runs the playground's modules here; it is not installed")


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    script = str(Path(__file__).with_name("playground_race.mjs"))
    asked = json.dumps({"playground": str(ROOT / "app" / "playground")})
    found = subprocess.run([str(NODE), script], input=asked, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout)


def test_a_lane_trains_as_it_would_alone(told):
    race = told["race"]
    assert race["together"] == race["alone"]
    assert len({tuple(losses) for losses in race["together"]}) == 3
    assert len({tuple(losses[:5]) for losses in race["together"]}) == 1, "same data, same start, until rank moves"


def test_a_driver_obeys_and_tells_every_loss_once(told):
    played = told["played"]
    assert played["errors"] == [
        "There is no race yet: start one first.",
        "width is fixed once training has begun.",
        "There is no lane 7: the race has 2.",
    ]
    assert played["afterSteps"] is False
    assert played["atEvent"] == {"step": 7, "events": 1}
    assert played["slicesAfterPause"] <= 1
    assert played["finished"] and not played["playing"]
    assert played["lossesTold"] == played["alone"]
    assert 0 < played["moves"] < 40


def test_a_chosen_speed_is_kept(told):
    assert 380 < told["paced"]["took"] < 440, "40 steps at 100 a second take 400 ms"
    assert told["paced"]["wrong"] == ["stepsPerSecond=0 must be above 0; null = as fast as it goes."]


def test_without_a_worker_the_page_does_the_same(told):
    runner = told["runner"]
    assert runner["beside"] == [False, True, False]
    assert runner["none"] == runner["refused"] == [0, 2]
    assert runner["ended"]
    assert runner["got"] == 2
    assert [report["message"] for report in runner["good"]] == ["told", "gone"]


def test_what_cannot_race_is_told(told):
    assert told["wrong"] == [
        "A race needs at least one training.",
        "seed=4: all trainings of a race have the same seed, here 3.",
    ]


def test_a_race_halts_where_rank_moved(told):
    held = told["held"]
    assert held["moves"] > 2
    # The first step after a halt is due at once.
    steps = 10 * (60 - held["moves"])
    assert 1000 * held["moves"] + steps - 20 < held["took"] < 1000 * held["moves"] + steps + 100
