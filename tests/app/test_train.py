"""The Train page headless: the form, its errors, and the job registry behind it."""

from __future__ import annotations

import time

import pytest
from streamlit.testing.v1 import AppTest

from flexlora.errors import FlexLoRAError
from flexlora.job import build_job
from flexlora.methods import METHODS
from flexlora.run_log import read_run


def script():
    from app_pages import train

    train.page()


@pytest.fixture
def registry(monkeypatch):
    """A registry of the test's own; whatever it trains is stopped at the end."""
    from app_pages import train
    from jobs import registry as live

    own = live.Registry()
    monkeypatch.setattr(live, "REGISTRY", own)
    monkeypatch.setattr(train, "REGISTRY", own)
    yield own
    assert own.stop()


@pytest.fixture
def page(roots, registry):
    return AppTest.from_function(script, default_timeout=60)


def wait_for(condition, timeout_s=60):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def widget(page, name):
    return next(item for item in [*page.selectbox, *page.number_input, *page.text_input] if item.label == name)


def test_the_form_is_filled_in_and_says_what_its_schedule_allows(page):
    page.run()
    assert not page.exception
    assert widget(page, "Task").value == "words"
    assert widget(page, "warmup steps").value == 20
    assert any("events" in caption.value and "the last at step" in caption.value for caption in page.caption)
    assert not page.button(key="train_start").disabled


def test_derived_numbers_follow_the_number_of_steps(page):
    page.run()
    widget(page, "Steps").set_value(400).run()
    assert (widget(page, "warmup steps").value, widget(page, "interval").value) == (40, 10)


def test_a_schedule_without_room_is_told_beside_its_field_and_the_last_good_one_stays(page):
    page.run()
    widget(page, "warmup steps").set_value(30).run()
    widget(page, "warmup steps").set_value(190).run()
    assert not page.exception
    assert "These fit" in page.error[0].value and "The last good schedule stays" in page.error[0].value
    assert widget(page, "warmup steps").value == 30
    assert not page.button(key="train_start").disabled


def test_a_form_that_cannot_work_cannot_start(page):
    page.run()
    widget(page, "max rank").input("2").run()
    assert "max_rank=2 is below" in page.error[0].value.replace("\\", "")
    assert page.button(key="train_start").disabled


def test_text_that_is_no_number_is_told_beside_the_form(page):
    page.run()
    widget(page, "learning rate").set_value("fast").run()
    assert "learning_rate" in page.error[0].value.replace("\\", "")
    assert page.button(key="train_start").disabled


def test_lora_offers_no_schedule(page):
    page.run()
    widget(page, "Method").set_value("lora").run()
    assert not page.exception
    assert not page.error
    assert "schedule" not in [item.label for item in page.selectbox]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_a_form_of_its_own_options(page, method):
    page.run()
    widget(page, "Task").set_value("digits").run()
    widget(page, "Method").set_value(method).run()
    assert not page.exception
    assert not page.button(key="train_start").disabled
    shown = {item.label.replace(" ", "_") for item in [*page.selectbox, *page.number_input, *page.text_input]}
    if method == "flexlora":
        # Knots have a table and the adaptive rule its settings, each under its own schedule.
        for schedule in ("points", "adaptive"):
            widget(page, "schedule").set_value(schedule).run()
            assert not page.exception
            shown |= {item.label.replace(" ", "_") for item in page.number_input}
            told = " ".join(caption.value for caption in page.caption)
            shown |= {"points"} if "Straight lines join the knots" in told else set()
    assert set(METHODS[method].options) - {"seed", "total_steps"} <= shown
    foreign = {key for other in METHODS.values() for key in other.options} - set(METHODS[method].options)
    assert not foreign & shown


def test_the_initial_rank_follows_the_target_and_what_is_shown_holds(page):
    page.run()
    widget(page, "Method").set_value("adalora").run()
    assert (widget(page, "target rank").value, widget(page, "initial rank").value) == (8, 12)
    widget(page, "target rank").set_value(4).run()
    assert widget(page, "initial rank").value == 6
    widget(page, "initial rank").set_value(3).run()
    assert "target_rank=4 is above initial_rank=3" in page.error[0].value.replace("\\", "")
    assert page.button(key="train_start").disabled
    widget(page, "initial rank").set_value(20).run()
    assert not page.error and widget(page, "target rank").value == 4


def test_a_run_is_started_watched_stopped_and_resumed(page, registry, roots):
    page.run()
    widget(page, "Task").set_value("digits").run()
    widget(page, "Steps").set_value(60).run()
    page.checkbox(key="train_paused").check().run()
    page.button(key="train_start").click().run()
    assert not page.exception
    folder = roots[1] / "digits-flexlora-paper-s0"
    wait_for(lambda: (folder / "run.json").exists() and registry.current.controls.paused)
    page.run()
    assert page.button(key="train_step")
    page.button(key="train_step").click().run()
    wait_for(lambda: registry.current.step == 1)
    page.button(key="train_next_event").click().run()
    wait_for(lambda: registry.current.controls.paused)
    first_event = build_job("digits", steps=60).config.event_steps()[0]
    assert registry.current.step == first_event
    page.button(key="train_stop").click().run()
    wait_for(lambda: not registry.current.alive)
    assert registry.current.step == first_event
    page.run()
    page.button(key="train_go_on").click().run()
    wait_for(lambda: not registry.current.alive)
    log = read_run(folder)
    assert log.state == "finished"
    assert log.steps["step"].tolist() == list(range(1, 61))
    page.run()
    assert not page.exception
    assert page.button(key="train_explore")


def test_one_job_at_a_time_and_the_reason_is_said(registry, tmp_path):
    job = build_job("digits", steps=300)
    registry.start(job, tmp_path / "first", paused=True)
    with pytest.raises(FlexLoRAError, match="still training"):
        registry.start(job, tmp_path / "second")
    assert registry.stop()
    assert read_run(tmp_path / "first").state == "stopped"
    assert not (tmp_path / "second").exists()


def test_a_job_that_cannot_start_says_why_in_the_page(page, registry, roots):
    page.run()
    widget(page, "Task").set_value("digits").run()
    widget(page, "target modules").set_value("nothing_like_this").run()
    page.button(key="train_start").click().run()
    wait_for(lambda: not registry.current.alive)
    page.run()
    assert not page.exception
    assert "Names that exist" in page.error[0].value


def test_a_run_that_was_killed_is_offered_for_resuming(page, registry, roots, make_run):
    folder = roots[1] / "killed"
    registry.start(build_job("digits", steps=40), folder, paused=True)
    wait_for(lambda: (folder / "checkpoint" / "state.safetensors").exists())
    assert registry.stop()
    registry._current = None
    page.run()
    assert widget(page, "A run that ended early").value == "killed"
    page.button(key="train_resume").click().run()
    wait_for(lambda: registry.current is not None and not registry.current.alive)
    assert read_run(folder).state == "finished"


def test_a_reset_goes_back_to_the_preset_and_can_be_undone(page):
    page.run()
    widget(page, "initial budget").set_value(5).run()
    widget(page, "learning rate").set_value("0.001").run()
    assert any("initial\\_budget = 5" in caption.value for caption in page.caption)
    page.button(key="train_reset").click().run()
    assert widget(page, "initial budget").value == 12
    assert widget(page, "learning rate").value == ""
    page.button(key="train_undo").click().run()
    assert widget(page, "initial budget").value == 5
    assert widget(page, "learning rate").value == "0.001"
