"""The page's words: each has one record, and says of any run only what its log tells."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from analysis.glossary import GLOSSARY, Moment, explain, introduction, told_in_file, tour
from analysis.metrics import first_matrix, parked_step
from analysis.payload.container import as_json
from analysis.report.tables import report_tables
from analysis.runs import load_run

SAMPLES = Path(__file__).resolve().parents[2] / "sample_runs"
SHOWN = ["words-flexlora-paper", "words-lora", "digits-autolora", "digits-salora", "digits-l1ra", "mnist-adalora-seed0"]


@pytest.fixture(scope="module", params=SHOWN)
def run(request):
    return load_run(SAMPLES / request.param)


def test_every_word_leads_to_one_term():
    spelled = [word.lower() for term in GLOSSARY.values() for word in term.words]
    assert len(spelled) == len(set(spelled)) and all(spelled)
    assert [key for key, term in GLOSSARY.items() if key != term.key or not term.definition.endswith(".")] == []


def test_terms_are_told_at_any_moment_of_any_run(run):
    matrices = [run.matrices[0].name, run.matrices[-1].name, first_matrix(run)]
    for step in (0, int(run.steps[0]), parked_step(run), int(run.steps[-1]) + 5):
        for name in matrices:
            told = json.loads(as_json(explain(run, step, name)))
            assert set(told["terms"]) == set(GLOSSARY) and told["place"]
            for term in told["terms"].values():
                assert term["own"] is None or term["own"].strip()
                check_picture(term["picture"])


def check_picture(picture):
    """Every number lies in the picture: bars and lines on [0, 1], dots between the ends of their scale."""
    if picture is None:
        return
    assert picture["note"]
    low, high = picture.get("ends", (0.0, 1.0))
    values = [
        *picture.get("values", []),
        *picture.get("ticks", []),
        *(x for own in picture.get("series", []) for x in own),
    ]
    values += [picture.get("clock", low), *picture.get("at", []), *(mark["at"] for mark in picture.get("marks", []))]
    assert all(low - 1e-4 <= value <= high + 1e-4 for value in values)


def test_own_numbers_are_those_of_the_log():
    run = load_run(SAMPLES / "words-flexlora-paper")
    at = Moment(run, parked_step(run), run.place_of(first_matrix(run)))
    own = {key: term.own(at) or "" for key, term in GLOSSARY.items()}
    assert f"r = {run.ranks[at.record, at.matrix]} now" in own["rank"]
    assert own["entropy"].endswith(f"{run.entropy[at.record, at.matrix]:.3f}")
    assert float(own["energy"].rpartition("= ")[2]) == pytest.approx(run.energy[at.record, at.matrix], rel=1e-3)
    assert float(re.findall(r"[\d.]+", own["gap"])[-1]) == pytest.approx(gap_of(run, at), abs=6e-4)
    assert own["event"].startswith(f"event {at.number + 1}, step {at.event['step']}: {len(at.event['prune'])} taken")


def test_the_entropy_of_a_single_direction_is_undefined_in_words_and_in_the_report():
    run = load_run(SAMPLES / "words-flexlora-reference")
    single, several = (int(np.flatnonzero(own)[0]) for own in (run.ranks[-1] == 1, run.ranks[-1] > 1))
    assert run.entropy[-1, single] == 1
    at = Moment(run, int(run.steps[-1]), single)
    assert at.entropy is None and "undefined" in GLOSSARY["entropy"].own(at)
    rows = [re.findall(r"<td[^>]*>([^<]*)</td>", row) for row in report_tables(run).split("<tr>")]
    told = {row[0]: row[6] for row in rows if len(row) == 8}
    assert told[run.matrices[single].name] == "–"
    assert float(told[run.matrices[several].name]) == pytest.approx(run.entropy[-1, several], rel=1e-3)


def gap_of(run, at):
    steps, true = run.true_entropy
    place = int(np.flatnonzero(steps <= at.step)[-1])
    return abs(run.entropy[run.record_at(int(steps[place])), at.matrix] - true[place, at.matrix])


def test_the_introduction_says_what_an_event_does_and_keeps_to_the_run():
    told = introduction(load_run(SAMPLES / "words-flexlora-paper"))
    assert "lose their smallest one" in told and "starting at 0" in told and told.endswith("stays 288.")
    assert "event" not in introduction(load_run(SAMPLES / "words-lora"))


def test_the_tour_leads_to_moments_of_the_run(run):
    stops = tour(run)
    assert [stop["title"] for stop in stops] == ["The map", "One spectrum", "An event", "Entropy", "The result"]
    names = {matrix.name for matrix in run.matrices}
    for stop in stops:
        assert run.steps[0] <= stop["view"]["step"] <= run.steps[-1]
        assert stop["view"].get("matrix", run.matrices[0].name) in names
    moves = any(event["prune"] or event["extend"] for event in run.events)
    assert [stop["missing"] for stop in stops] == [False, False, not moves, False, False]
    assert ("stage" in stops[2]["view"]) == moves


def test_a_file_has_the_numbers_of_the_moment_that_it_opens_at():
    run = load_run(SAMPLES / "digits-flexlora-paper")
    told = told_in_file(run)
    assert set(told["terms"]) == {"", *(matrix.name for matrix in run.matrices)}
    assert f"step {parked_step(run)}" in told["terms"][run.matrices[0].name]["place"]
    moved = set(told_in_file(run, most=1)["terms"]) - {""}
    assert moved and len(moved) < len(run.matrices)
