"""The editor of Compare headless: what the form and the file say before a study is started, and what is started."""

from __future__ import annotations

import pytest
from compare_studies import PLAIN, script, words
from streamlit.testing.v1 import AppTest


@pytest.fixture
def page(roots):
    found = AppTest.from_function(script, default_timeout=60)
    found.query_params["part"] = "New study"
    return found.run()


def write_file(page, text: str):
    page.segmented_control(key="compare_source").set_value("File or ready example").run()
    return page.text_area(key="compare_study_text").set_value(text).run()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "must be a mapping"),
        ("a: &x [1]\nb: *x", "anchor"),
        (PLAIN.replace("equal: final_rank", "equal: final_rank\naxes: {wings: [1, 2]}"), "Unknown axis 'wings'"),
        (PLAIN + f"axes: {{batch_size: {list(range(1, 1001))}, interval: {list(range(1, 1001))}}}", "runs"),
        (PLAIN.replace("lora, flexlora", "lora, flexlore"), "flexlore"),
        ("\x00", "no YAML"),
    ],
)
def test_a_bad_study_file_is_one_line_and_starts_nothing(page, text, told):
    write_file(page, text)
    assert not page.exception
    (error,) = page.error
    assert told in error.value.replace("\\", "") and "\n" not in error.value
    assert not [button for button in page.button if button.key == "compare_start"]


def test_the_file_says_how_many_runs_it_is_and_unequal_settings_are_told_before(page):
    assert "3 variants × 8 seeds = **24 runs**" in words(page)
    uneven = PLAIN.replace("[lora,", "[{name: big, method: lora, settings: {initial_rank: 12}},")
    write_file(page, uneven)
    assert not page.exception and "Not an equal comparison" in words(page)
    assert page.button(key="compare_start").disabled
    page.toggle(key="compare_study_anyway").set_value(True).run()
    assert not page.button(key="compare_start").disabled


def test_the_form_is_what_is_started_and_can_be_written_on_as_a_file(page, monkeypatch):
    from jobs.registry import REGISTRY

    asked = []
    monkeypatch.setattr(REGISTRY, "start", lambda me, request, root, **more: asked.append(request))
    page.text_input(key="compare_form_ranks").set_value("2, 4")
    page.number_input(key="compare_form_seeds").set_value(3).run()
    assert not page.exception and not page.error
    assert "6 variants × 3 seeds = **18 runs**" in words(page)
    page.button(key="compare_start").click().run()
    assert not page.exception
    (request,) = asked
    assert request.job.runs == 18 and "seeds: 3" in request.job.text
    page.button(key="compare_form_edit").click().run()
    assert not page.exception
    assert page.text_area(key="compare_study_text").value == request.job.text
    page.segmented_control(key="compare_source").set_value("Form").run()
    assert page.number_input(key="compare_form_seeds").value == 3, "what was typed is kept"


def test_what_cannot_tell_anything_is_said_before_the_start(page):
    assert "2 comparisons need 7 seeds or more for a claim" in words(page) and not page.warning
    page.number_input(key="compare_form_seeds").set_value(6).run()
    assert "No difference can be claimed with 6 seeds, however large it is: 7 are needed" in words(page)
    page.number_input(key="compare_form_seeds").set_value(7)
    page.number_input(key="compare_form_steps").set_value(1).run()
    assert not page.exception
    assert "No event falls into the 1 steps of" in words(page)


def test_the_guide_opens_over_the_page(page):
    page.button(key="compare_guide").click().run()
    assert not page.exception and "Every variant, so every method at every rank" in words(page)


def test_the_estimate_has_the_start_once_however_many_runs_go_side_by_side(monkeypatch):
    from compare.draft import check_draft, estimate
    from compare.pace import Paces
    from jobs import start_up

    monkeypatch.setattr(start_up, "_measured", [30.0])
    monkeypatch.setattr(Paces, "step_s", lambda self, task, method: 1.0)
    draft = check_draft(PLAIN)
    assert not isinstance(draft, str) and draft.job.steps == 32
    assert "about **62 s**, as runs here took, 30 s of it until the first begins" in estimate(draft, Paces(), 1)
    assert "about **46 s**" in estimate(draft, Paces(), 2)
