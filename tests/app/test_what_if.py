"""The What-if page headless: every number comes from the replay, and what cannot be replayed is told."""

from __future__ import annotations

import shutil

import pytest
from streamlit.testing.v1 import AppTest

from analysis.runs import load_run
from analysis.what_if import compare_decisions, logged_decisions, own_settings, replay
from flexlora.job import build_job
from flexlora.loop import run_job

SMALL = {"batch_size": 8, "target_modules": "q_proj,v_proj,mlp.fc1", "eval_interval": 100}
SETTINGS = {"interval": 3, "warmup_steps": 2, "final_steps": 3, "initial_budget": 6, **SMALL}


def script():
    from app_pages import what_if

    what_if.page()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("what_if") / "base"
    run_job(build_job("digits", "flexlora", steps=30, seed=2, settings=SETTINGS), folder)
    return folder


@pytest.fixture
def page(roots, trained):
    shutil.copytree(trained, roots[1] / "base")
    test = AppTest.from_function(script, default_timeout=60)
    test.session_state["what_if_run"] = "runs/base"
    return test


def widget(page, name):
    return next(item for item in [*page.selectbox, *page.number_input] if item.label == name)


def told(page):
    return " ".join(item.value for item in page.markdown).replace("\\", "")


def test_a_run_under_its_own_settings_agrees_with_itself(page):
    page.run()
    assert not page.exception
    assert "These are the run's own settings. 100% of all moves agree" in told(page)


def test_another_measure_is_replayed_and_its_agreement_shown(page, trained):
    page.run()
    widget(page, "importance").set_value("nuclear_norm").run()
    assert not page.exception
    run = load_run(trained)
    other = replay(run, own_settings(run)(1).replace(importance="nuclear_norm"), "exact")
    agreement = compare_decisions(logged_decisions(run), other).agreement
    assert f"{agreement:.0%} of all moves agree" in told(page)
    assert "random moves of equal number" in told(page)


def test_the_approximation_is_labelled_and_does_not_offer_what_it_cannot_know(page):
    page.run()
    assert "sensitivity" in widget(page, "importance").options
    page.segmented_control(key="what_if_mode").set_value("frozen").run()
    assert not page.exception
    assert "Approximation on frozen spectra" in told(page) and "Final ranks would differ in 0 of" in told(page)
    assert "sensitivity" not in widget(page, "importance").options
    assert any("needs more than λ" in caption.value for caption in page.caption)


def test_a_schedule_that_cannot_be_stays_as_it_was(page):
    page.run()
    widget(page, "warmup steps").set_value(29).run()
    assert not page.exception
    assert "The last good schedule stays" in page.error[0].value
    assert widget(page, "warmup steps").value == 2


def test_the_trained_run_judges_the_approximation(page, roots, trained):
    job = build_job("digits", "flexlora", steps=30, seed=2, settings={**SETTINGS, "importance": "nuclear_norm"})
    run_job(job, roots[1] / "checked", parent="base")
    page.run()
    widget(page, "importance").set_value("nuclear_norm").run()
    assert not page.exception
    words = " ".join(caption.value for caption in page.caption).replace("\\", "")
    assert "checked was trained with these settings" in words and "the approximation foretold" in words


def test_a_run_of_another_method_says_whose_rule_decides(page, roots, trained):
    run_job(build_job("digits", "lora", steps=12, seed=2, settings=SMALL), roots[1] / "plain")
    page.session_state["what_if_run"] = "runs/plain"
    page.run()
    assert not page.exception
    assert "FlexLoRA's rule decides on its spectra" in page.info[0].value


def test_no_run_at_all_is_told(roots):
    for folder in [*roots[0].iterdir(), *roots[1].iterdir()]:
        shutil.rmtree(folder)
    page = AppTest.from_function(script, default_timeout=60)
    page.run()
    assert not page.exception
    assert "No run is here yet" in page.info[0].value
