"""The page Learn headless: what it says without its runs, its links, and that it leaves the browser what it needs."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from analysis.lessons import lesson_book, material

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
