"""The film of an event: a function of its moment, in which nothing leaves the picture and no word stands on another."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from analysis.payload import pack_run, pack_spectra
from analysis.runs import Run, load_run
from analysis.stages import stages_of

ROOT = Path(__file__).resolve().parents[2]
RUNS = ["words-flexlora-paper", "digits-adalora", "digits-l1ra", "digits-salora", "arc-flexlora-seed0"]
MOMENTS = [i / 10 for i in range(51)] + [2.55, 2.65, 2.75, 2.85, 3.55, 3.65, 3.75]
SIZES = [(640, 380), (470, 250), (300, 150)]
TIMEOUT_S = 240
NODE = shutil.which("node")

pytestmark = pytest.mark.skipif(NODE is None, reason="node runs the player's modules here; it is not installed")


def film_of(path: Path, run: Run, events: list[int]) -> dict[str, Any]:
    """What is drawn and told of some events, at every moment and in every size."""
    path.write_bytes(pack_run(run))
    asked = {"player": str(ROOT / "app" / "player"), "payload": str(path), "events": events}
    asked |= {"moments": sorted(MOMENTS), "sizes": SIZES}
    return asked_of("film.mjs", asked)


def asked_of(script: str, asked: dict[str, Any]) -> dict[str, Any]:
    command = [str(NODE), str(Path(__file__).with_name(script))]
    told = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, timeout=TIMEOUT_S)
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout)


@pytest.fixture(scope="module", params=RUNS)
def film(request, tmp_path_factory) -> tuple[Run, dict[str, Any]]:
    """A run, and the films of two of its events."""
    run = load_run(ROOT / "sample_runs" / request.param)
    events = sorted(random.Random(request.param).sample(range(len(run.events)), 2))
    return run, film_of(tmp_path_factory.mktemp("film") / "run.bin", run, events)


def test_every_stack_stays_in_the_picture_at_every_moment(film):
    assert film[1]["outside"] == []


def test_the_row_is_sorted_by_score_and_nothing_overlaps_in_it(film):
    run, told = film
    for found in told["rows"]:
        stages = stages_of(run, found["step"])
        assert stages is not None
        assert found["away"] == 1
        scores = [stages.score[m] for m in found["row"]]
        assert scores == sorted(scores)
        assert sorted(found["row"] + found["aside"]) == list(range(len(stages.score)))
        stood = [found["boxes"][m] for m in found["row"] + found["aside"]]
        assert all(left["x"] + left["w"] <= right["x"] + 1e-9 for left, right in pairwise(stood))


def test_in_the_row_each_direction_can_be_counted_and_compared(film):
    run, told = film
    for found in told["rows"]:
        assert found["thin"] == (len(run.matrices) > 70)
        for stack in found["stacks"] if not found["thin"] else []:
            assert len(stack["drawn"]) == stack["stored"]
            assert not found["known"] or stack["drawn"] == pytest.approx(stack["lengths"])


def test_a_moment_looks_the_same_from_whichever_side_it_is_reached(film):
    for found in film[1]["steady"]:
        assert found["same"]
        assert found["different"] > len(MOMENTS) / 2


def test_map_panel_and_balance_agree_on_ranks_at_every_moment(film):
    run, told = film
    for now in told["ranks"]:
        stages = stages_of(run, now["step"])
        assert stages is not None
        assert now["bars"] == now["side"] == now["ranks"], now["moment"]
        assert str(sum(now["ranks"])) in now["balance"]
        if now["moment"] <= 2.5:
            assert now["ranks"] == stages.rank.tolist()
        elif now["moment"] == 3:
            assert now["ranks"] == (stages.rank - stages.pruned).tolist()
        elif now["moment"] >= 4:
            assert now["ranks"] == (stages.rank - stages.pruned + stages.extended).tolist()


def test_no_word_stands_on_another_and_none_is_too_small(film):
    crowded = film[1]["crowded"]
    assert crowded["written"] > 1000
    assert crowded["found"][:5] == []


def test_the_result_is_asked_for_before_it_is_told(film):
    for now in film[1]["words"]:
        assert now["caption"].endswith("?") == (now["moment"] < 5 and now["moment"] % 1 < 0.5)
        assert now["moment"] >= 3.5 or now["sentence"].endswith("what will move?")


@pytest.mark.parametrize("name", ["words-flexlora-paper", "digits-salora", "digits-autolora"])
def test_where_lambda_comes_a_record_at_a_time_the_stacks_become_those_of_the_whole_run(name, tmp_path):
    run = load_run(ROOT / "sample_runs" / name)
    event = len(run.events) // 2
    whole = pack_run(run)
    step = run.events[event]["step"]
    record = run.record_at(step)
    paths = {"whole": tmp_path / "whole", "narrow": tmp_path / "narrow"}
    paths["whole"].write_bytes(whole)
    paths["narrow"].write_bytes(pack_run(run, len(whole) // 2))
    frames = []
    for own in run.steps[record : record + 7].tolist():
        (tmp_path / str(own)).write_bytes(pack_spectra(run, own))
        frames.append((own, str(tmp_path / str(own))))
    asked = {"player": str(ROOT / "app" / "player"), "event": event, "frames": frames}
    told = asked_of("film_frames.mjs", asked | {key: str(path) for key, path in paths.items()})
    assert told["onDemand"] and told["records"] == run.steps[record : record + len(told["records"])].tolist()
    first, second, *_, last = told["stages"]
    assert not first["known"] and first["bars"] != told["whole"]["bars"]
    # With its own record the sizes are there, and nothing grows yet.
    assert second["known"] and sizes(second) == sizes(told["whole"])
    assert all(size == bar["size"] for own in second["bars"] for bar in own for size in bar["growth"])
    assert last["bars"] == told["whole"]["bars"] and last["rest"] == told["whole"]["rest"]


def sizes(told: dict[str, Any]) -> list[list[Any]]:
    return [[(bar["size"], bar["share"], bar["fate"], bar["soft"]) for bar in own] for own in told["bars"]]
