"""The page Learn headless: what it says without its runs, its links, and that it leaves the browser what it needs."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from analysis.lessons import lesson_book, material
from tests.app.playground_script import NODE, answers

SAMPLES = Path(__file__).parents[2] / "sample_runs"


@pytest.fixture(scope="module")
def lab():
    return material(SAMPLES)


@pytest.fixture(scope="module")
def book(lab):
    return lesson_book(lab)


def shown(book):
    for lesson in book["lessons"]:
        for step in lesson["steps"]:
            for stage in (step["stage"], step.get("reveal", {}).get("stage") or {}):
                if "view" in stage:
                    yield f"{lesson['key']}/{step['key']}", stage["view"]


def test_every_step_is_a_link_that_the_player_follows_to_the_letter(book, lab):
    from player import PlayerView
    from runs.link import read_link

    views = list(shown(book))
    assert len(views) > 20
    for place, view in views:
        asked = {name: str(value) for name, value in view.items()}
        link = read_link(asked, lab.run(view["run"]))
        assert link.notes == (), place
        assert set(view) - {"run"} <= set(PlayerView().as_dict()), place
        assert link.view.as_dict() == {**PlayerView().as_dict(), **{k: v for k, v in view.items() if k != "run"}}, place


def test_answers_that_are_looked_for_can_be_shown(book, lab):
    from runs.link import read_link

    for lesson in book["lessons"]:
        for step in lesson["steps"]:
            ask = step["ask"]
            if ask["kind"] == "select":
                for answer in ask["answers"]:
                    view = {**step["stage"]["view"], ask["field"]: answer}
                    link = read_link({name: str(value) for name, value in view.items()}, lab.run(view["run"]))
                    assert link.notes == () and getattr(link.view, ask["field"]) == answer, step["key"]


def learn():
    from app_pages import learn

    learn.page()


def test_without_its_runs_the_page_says_which_are_missing(roots):
    app = AppTest.from_function(learn, default_timeout=30).run()
    assert not app.exception
    assert "words-flexlora-paper" in app.info[0].value and "sample_runs" in app.info[0].value


def test_a_damaged_run_is_told_in_a_line(roots):
    for name in ("words-flexlora-paper", "words-flexlora-reference", "words-lora", "studies/four_ways"):
        (roots[0] / name).mkdir(parents=True)
    app = AppTest.from_function(learn, default_timeout=30).run()
    assert not app.exception
    assert "cannot be read" in app.error[0].value


def test_the_page_gives_the_reader_its_book(monkeypatch):
    monkeypatch.setenv("FLEXLORA_LAB_SAMPLES", str(SAMPLES))
    app = AppTest.from_function(learn, default_timeout=60).run()
    assert not app.exception and not app.error and not app.info


def drawing_of(book, key):
    steps = [step for lesson in book["lessons"] for step in lesson["steps"]]
    return next(step["ask"] for step in steps if step["key"] == key)


@pytest.mark.skipif(NODE is None, reason="node judges the curves here; it is not installed")
def test_a_curve_is_judged_by_whether_the_event_stands_out(book):
    """Level, on a slope, or as noisy as elsewhere = no jump; a jump, also one that falls back, is one."""
    loss, departure = drawing_of(book, "loss"), drawing_of(book, "regularizer")
    before, after = 5 * [0.3], 5 * [0.3]
    curves = {
        "the loss": (loss["truth"], 0),
        "the regulariser": (departure["truth"], 1),
        "level": ([*before, 0.3, *after], 0),
        "a slope": ([0.1 + 0.05 * i for i in range(11)], 0),
        "a slope from the event on": ([*before, 0.3, *(0.3 + 0.05 * i for i in range(1, 6))], 0),
        "as noisy as elsewhere": ([0.3, 0.5, 0.2, 0.4, 0.3, 0.5, 0.35, 0.5, 0.2, 0.4, 0.3], 0),
        "a hand that trembles": ([*before, 0.3, *(0.31 for _ in after)], 0),
        "up": ([*before, 0.3, *(0.6 for _ in after)], 1),
        "up and back": ([*before, 0.3, 0.6, *after[1:]], 1),
        "down": ([*before, 0.3, *(0.05 for _ in after)], -1),
    }
    tops = {"the regulariser": departure["high"]}
    found = answers(
        *(["../learn/judge", "jump", own, 5, tops.get(name, loss["high"])] for name, (own, _) in curves.items())
    )
    assert dict(zip(curves, found, strict=True)) == {name: way for name, (_, way) in curves.items()}


@pytest.mark.skipif(NODE is None, reason="node judges the curves here; it is not installed")
def test_heights_do_not_count_where_the_event_does(book):
    loss, departure, curve = (drawing_of(book, key) for key in ("loss", "regularizer", "formula"))
    nothing = len(loss["x"]) * [None]

    def judged(ask, values):
        return ["../learn/judge", "judged", ask, [*ask["truth"][: ask["given"]], *values[ask["given"] :]]]

    level = judged(loss, 11 * [loss["low"]])
    ramp = judged(departure, [departure["truth"][0] + i * departure["high"] / 15 for i in range(11)])
    leap = judged(departure, [*5 * [0.0], 0.0, *5 * [departure["high"]]])
    flat = judged(curve, len(curve["x"]) * [curve["high"]])
    told = answers(level, ramp, leap, flat, judged(curve, curve["truth"]), judged(loss, nothing))
    assert told == [{"drawn": i < 5, "right": right} for i, right in enumerate((True, False, True, False, True, False))]
